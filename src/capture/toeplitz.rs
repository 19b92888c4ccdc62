//! The Toeplitz hash in software: what a port's receive side scaling computes.

/// The key whose hash does not change when source and destination are exchanged: addresses and
/// ports start at multiples of 16 bits and the key repeats after 16 bits, so that exchanging them
/// only exchanges terms of a sum. (Woo and Park, "Scalable TCP session monitoring with symmetric
/// receive-side scaling", 2012.)
pub fn symmetric_key(length: usize) -> Vec<u8> {
    [0x6d, 0x5a].into_iter().cycle().take(length).collect()
}

/// The hash of `input` under `key`: for each set bit of the input, from the left, the 32 key bits
/// that start at its position are added without carry. A key shorter than the input needs counts as
/// if zeros followed.
pub fn hash(key: &[u8], input: &[u8]) -> u32 {
    let mut bytes = key.iter().copied();
    let mut next = || u64::from(bytes.next().unwrap_or(0));
    // The upper 32 of 40 bits are the window over the key at the current input byte.
    let mut window = (next() << 32) | (next() << 24) | (next() << 16) | (next() << 8) | next();
    let mut sum = 0_u64;
    for byte in input {
        for bit in 0..8 {
            if byte & (0x80 >> bit) != 0 {
                sum ^= window >> (8 - bit);
            }
        }
        sum &= 0xffff_ffff;
        window = ((window << 8) | next()) & 0xff_ffff_ffff;
    }
    u32::try_from(sum).unwrap_or(0)
}

/// Do both directions of sample flows, over IPv4 and IPv6, with and without ports, hash alike?
pub fn is_symmetric(key: &[u8]) -> bool {
    (0_u8..64).all(|sample| {
        let address = |length: usize, salt: u8| -> Vec<u8> {
            (0_u8..)
                .take(length)
                .map(|at| {
                    at.wrapping_mul(37)
                        .wrapping_add(sample.wrapping_mul(salt))
                        .rotate_left(3)
                })
                .collect()
        };
        [4, 16].into_iter().all(|length| {
            let (a, b) = (address(length, 151), address(length, 29));
            let (port_a, port_b) = (address(2, 91), [0x01, sample]);
            let there = [a.as_slice(), &b, &port_a, &port_b].concat();
            let back = [b.as_slice(), &a, &port_b, &port_a].concat();
            let bare = there.len() - 4;
            hash(key, &there) == hash(key, &back)
                && hash(key, there.get(..bare).unwrap_or(&[]))
                    == hash(key, back.get(..bare).unwrap_or(&[]))
        })
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The key and values that Microsoft publishes for verification of RSS.
    pub(in crate::capture) const VERIFICATION_KEY: [u8; 40] = [
        0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f,
        0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
        0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
    ];

    #[test]
    fn agrees_with_the_published_values() {
        // 66.9.149.187:2794 -> 161.142.100.80:1766
        let input = [66, 9, 149, 187, 161, 142, 100, 80, 0x0a, 0xea, 0x06, 0xe6];
        assert_eq!(hash(&VERIFICATION_KEY, &input), 0x51cc_c178);
        assert_eq!(hash(&VERIFICATION_KEY, &input[..8]), 0x323e_8fc2);
    }

    #[test]
    fn only_the_repeated_key_is_symmetric() {
        assert!(is_symmetric(&symmetric_key(40)));
        assert!(is_symmetric(&symmetric_key(52)));
        assert!(!is_symmetric(&VERIFICATION_KEY));
    }

    #[test]
    fn the_symmetric_hash_still_spreads() {
        let key = symmetric_key(52);
        let mut queues = [0_u32; 4];
        for host in 0_u8..=255 {
            let input = [
                10,
                0,
                0,
                host,
                10,
                0,
                1,
                1,
                0x80,
                host.wrapping_mul(7),
                0,
                80,
            ];
            queues[usize::try_from(hash(&key, &input) % 4).unwrap()] += 1;
        }
        assert!(queues.iter().all(|&count| count > 16), "{queues:?}");
    }
}
