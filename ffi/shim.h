/*
 * The inline functions of DPDK, wrapped for Rust, and the constants that are macros in its headers.
 *
 * One call of shim_receive serves one burst: it releases the previous one, receives, and describes
 * what came in, so that the caller needs to know nothing of struct rte_mbuf.
 */
#ifndef SHIM_H
#define SHIM_H

#include <stdint.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_mbuf_dyn.h>
#include <rte_mempool.h>
#include <rte_version.h>

#if RTE_VER_YEAR != 22 || RTE_VER_MONTH != 11
#error "these bindings are written for DPDK 22.11"
#endif

/* Frames in one burst: the vector receive functions of the Intel drivers want no fewer. */
enum { SHIM_BURST = 32 };

/* Bits of shim_frame.flags. */
enum { SHIM_HAS_HASH = 1, SHIM_HAS_TIMESTAMP = 2 };

/* One received frame; its bytes live until the next receive on the same queue. */
struct shim_frame {
	const uint8_t *data;
	uint64_t timestamp;
	uint32_t length;
	uint32_t hash;
	uint32_t flags;
};

/* One receive queue and the burst that it holds. Used by one thread at a time. */
struct shim_queue {
	uint16_t port;
	uint16_t queue;
	/* Buffers of the current burst, and the frames that they make up. */
	uint16_t held_count;
	uint16_t frame_count;
	/* Where drivers store a receive time; -1 when no driver does. */
	int32_t timestamp_offset;
	/* Longest frame that is put together from a chain of buffers. */
	uint32_t frame_bytes_max;
	uint64_t timestamp_flag;
	/* Room for SHIM_BURST frames that came as chains. */
	uint8_t *side;
	/* Time stamp counter right after the receive that filled the burst. */
	uint64_t tsc;
	/* The same after the last receive that left nothing behind. */
	uint64_t emptied;
	/* Ticks to the last receive from the one before it that left nothing behind. */
	uint64_t waited;
	/* Chains longer than frame_bytes_max: released and counted here. */
	uint64_t oversize;
	struct rte_mbuf *held[SHIM_BURST];
	struct shim_frame frames[SHIM_BURST];
};

/* Release the burst that the queue holds and receive the next one; returns its frame count. */
uint16_t shim_receive(struct shim_queue *queue);

/* Release the burst that the queue holds. */
void shim_release(struct shim_queue *queue);

/* The calling thread's error number of the last failed DPDK call. */
int shim_errno(void);

/* Is the calling thread known to EAL? */
int shim_thread_is_registered(void);

/* Time stamp counter. */
uint64_t shim_tsc(void);

static const uint64_t SHIM_OFFLOAD_SCATTER = RTE_ETH_RX_OFFLOAD_SCATTER;
static const uint64_t SHIM_OFFLOAD_TIMESTAMP = RTE_ETH_RX_OFFLOAD_TIMESTAMP;
static const uint64_t SHIM_OFFLOAD_RSS_HASH = RTE_ETH_RX_OFFLOAD_RSS_HASH;
static const uint32_t SHIM_HEADROOM = RTE_PKTMBUF_HEADROOM;

/*
 * What a port hashes of TCP, of UDP, and of packets for which nothing else holds; by IP version.
 */
static const uint64_t SHIM_HASH_TCP4 = RTE_ETH_RSS_NONFRAG_IPV4_TCP;
static const uint64_t SHIM_HASH_UDP4 = RTE_ETH_RSS_NONFRAG_IPV4_UDP;
static const uint64_t SHIM_HASH_IPV4 = RTE_ETH_RSS_IPV4;
static const uint64_t SHIM_HASH_TCP6 = RTE_ETH_RSS_NONFRAG_IPV6_TCP;
static const uint64_t SHIM_HASH_UDP6 = RTE_ETH_RSS_NONFRAG_IPV6_UDP;
static const uint64_t SHIM_HASH_IPV6 = RTE_ETH_RSS_IPV6;

/* Hash types that keep the packets of a conversation together under a symmetric key. */
static const uint64_t SHIM_HASH_TYPES =
	RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_FRAG_IPV4 | RTE_ETH_RSS_NONFRAG_IPV4_TCP |
	RTE_ETH_RSS_NONFRAG_IPV4_UDP | RTE_ETH_RSS_NONFRAG_IPV4_SCTP |
	RTE_ETH_RSS_NONFRAG_IPV4_OTHER | RTE_ETH_RSS_IPV6 | RTE_ETH_RSS_FRAG_IPV6 |
	RTE_ETH_RSS_NONFRAG_IPV6_TCP | RTE_ETH_RSS_NONFRAG_IPV6_UDP |
	RTE_ETH_RSS_NONFRAG_IPV6_SCTP | RTE_ETH_RSS_NONFRAG_IPV6_OTHER |
	RTE_ETH_RSS_IPV6_EX | RTE_ETH_RSS_IPV6_TCP_EX | RTE_ETH_RSS_IPV6_UDP_EX;

#endif
