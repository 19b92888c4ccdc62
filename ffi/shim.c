#include "shim.h"

#include <assert.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_prefetch.h>

static_assert(sizeof(struct rte_mbuf) == 128, "two cache lines a buffer");

/*
 * Copy a chain of buffers to the frame's place in the side buffer: every frame is one slice.
 * The lengths of the segments count, not pkt_len: net_pcap keeps only 16 bits of that.
 * Returns the length of the frame, or -1 when it is longer than a frame may be.
 */
static int64_t
linearise(const struct shim_queue *queue, const struct rte_mbuf *mbuf, uint8_t *target)
{
	uint32_t length = 0;

	for (; mbuf != NULL; mbuf = mbuf->next) {
		if (mbuf->data_len > queue->frame_bytes_max - length)
			return -1;
		memcpy(target + length, rte_pktmbuf_mtod(mbuf, const uint8_t *), mbuf->data_len);
		length += mbuf->data_len;
	}
	return length;
}

uint16_t
shim_receive(struct shim_queue *queue)
{
	uint16_t frames = 0;
	uint16_t count;
	uint64_t now;

	if (queue->held_count != 0)
		rte_pktmbuf_free_bulk(queue->held, queue->held_count);
	count = rte_eth_rx_burst(queue->port, queue->queue, queue->held, SHIM_BURST);
	queue->held_count = count;
	queue->frame_count = 0;
	now = rte_rdtsc();
	queue->waited = now - queue->emptied;
	/* A full burst may have left frames behind, which came no later than it did. */
	if (count < SHIM_BURST)
		queue->emptied = now;
	if (count == 0)
		return 0;
	queue->tsc = now;

	for (uint16_t i = 0; i < count; i++)
		rte_prefetch0(rte_pktmbuf_mtod(queue->held[i], const void *));
	for (uint16_t i = 0; i < count; i++) {
		const struct rte_mbuf *mbuf = queue->held[i];
		struct shim_frame *frame = &queue->frames[frames];

		frame->data = rte_pktmbuf_mtod(mbuf, const uint8_t *);
		frame->length = mbuf->data_len;
		if (unlikely(mbuf->next != NULL)) {
			uint8_t *target = queue->side + (size_t)frames * queue->frame_bytes_max;
			int64_t length = linearise(queue, mbuf, target);

			if (length < 0) {
				queue->oversize++;
				continue;
			}
			frame->data = target;
			frame->length = (uint32_t)length;
		}
		frame->flags = 0;
		if (mbuf->ol_flags & RTE_MBUF_F_RX_RSS_HASH) {
			frame->hash = mbuf->hash.rss;
			frame->flags |= SHIM_HAS_HASH;
		}
		if (mbuf->ol_flags & queue->timestamp_flag) {
			frame->timestamp = *RTE_MBUF_DYNFIELD(mbuf, queue->timestamp_offset,
							      const rte_mbuf_timestamp_t *);
			frame->flags |= SHIM_HAS_TIMESTAMP;
		}
		frames++;
	}
	queue->frame_count = frames;
	return frames;
}

void
shim_release(struct shim_queue *queue)
{
	if (queue->held_count != 0)
		rte_pktmbuf_free_bulk(queue->held, queue->held_count);
	queue->held_count = 0;
	queue->frame_count = 0;
}

int
shim_errno(void)
{
	return rte_errno;
}

int
shim_thread_is_registered(void)
{
	return rte_lcore_id() != LCORE_ID_ANY;
}

uint64_t
shim_tsc(void)
{
	return rte_rdtsc();
}
