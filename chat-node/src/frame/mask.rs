//! The XOR mask that every client frame carries.

/// Removes (or applies) the mask in place; `key[0]` belongs to `payload[0]`.
pub(super) fn unmask(payload: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let wide_key = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, tail) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide_key).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(wide_key.to_ne_bytes()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_meets_its_key_byte_at_any_length() {
        let key = [0x11, 0x22, 0x44, 0x88];
        for len in 0..40 {
            let plain: Vec<u8> = (0..len).collect();
            let mut masked = plain.clone();
            unmask(&mut masked, key);
            for (index, byte) in masked.iter().enumerate() {
                assert_eq!(*byte, plain[index] ^ key[index % 4]);
            }
        }
    }
}
