//! Setting NATS up for nodes: keys and what they open, streams made, checked and repaired.

mod nats_setup {
    mod documented;
    mod init;
    mod permissions;
    mod tls;
}
