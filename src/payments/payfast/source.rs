//! Where PayFast's notifications come from.
//!
//! An address outside the ranges proves nothing by itself: PayFast has moved before, and the ranges are published by
//! hand. So a miss limits the rate and raises an alarm; it never refuses money that is signed and confirmed.

use std::net::IpAddr;

/// PayFast's published ranges: the network and the length of its prefix in bits.
pub const RANGES: [([u8; 4], u32); 5] = [
    ([197, 97, 145, 144], 28),
    ([41, 74, 179, 192], 27),
    ([102, 216, 36, 0], 28),
    ([102, 216, 36, 128], 28),
    ([144, 126, 193, 139], 32),
];

/// When the ranges were last compared with what PayFast publishes.
pub const RANGES_OF: &str = "November 2026";

/// True when `address` lies in one of PayFast's ranges. An IPv4 address written as IPv6 is the same address.
#[must_use]
pub fn is_payfast(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => RANGES.iter().any(|(network, bits)| {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            u32::from(address) & mask == u32::from_be_bytes(*network) & mask
        }),
        IpAddr::V6(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(address: &str) -> bool {
        is_payfast(address.parse().unwrap())
    }

    #[test]
    fn the_edges_of_the_ranges() {
        for inside in [
            "197.97.145.144",
            "197.97.145.159",
            "41.74.179.192",
            "41.74.179.223",
            "102.216.36.0",
            "102.216.36.15",
            "102.216.36.128",
            "102.216.36.143",
            "144.126.193.139",
            "::ffff:41.74.179.200",
        ] {
            assert!(accepts(inside), "{inside}");
        }
        for outside in [
            "197.97.145.143",
            "197.97.145.160",
            "41.74.179.191",
            "41.74.179.224",
            "102.216.36.16",
            "102.216.36.127",
            "102.216.36.144",
            "144.126.193.138",
            "144.126.193.140",
            "127.0.0.1",
            "::1",
        ] {
            assert!(!accepts(outside), "{outside}");
        }
    }
}
