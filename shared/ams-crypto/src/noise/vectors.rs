//! Published Noise vectors (cacophony) for the five patterns of this crate, `25519_ChaChaPoly_BLAKE2s`.

pub(super) struct Vector {
    pub(super) name: &'static str,
    pub(super) psk: Option<&'static str>,
    pub(super) hash: &'static str,
    /// Payload and message; initiator and responder in turn, but one way for `N` patterns.
    pub(super) messages: &'static [(&'static str, &'static str)],
}

pub(super) const PROLOGUE: &str = "4a6f686e2047616c74";
pub(super) const INITIATOR: &str =
    "e61ef9919cde45dd5f82166404bd08e38bceb5dfdfded0a34c8df7ed542214d1";
pub(super) const INITIATOR_EPHEMERAL: &str =
    "893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a";
pub(super) const RESPONDER: &str =
    "4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893";
pub(super) const RESPONDER_PUBLIC: &str =
    "31e0303fd6418d2f8c0e78b91f22e8caed0fbe48656dcf4767e4834f701b8f62";
pub(super) const RESPONDER_EPHEMERAL: &str =
    "bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b";

pub(super) const VECTORS: &[Vector] = &[
    Vector {
        name: "Noise_XK_25519_ChaChaPoly_BLAKE2s",
        psk: None,
        hash: "899891a0f1a8db67f8bfa46b8bced371c1c25de377f20cf882fdd06fc15517fd",
        messages: &[
            (
                "4c756477696720766f6e204d69736573",
                "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c7944e953bb4cd3450eecab157a8ce632f74fcac39a3fcd5be08267d5923ca353d4f0",
            ),
            (
                "4d757272617920526f746862617264",
                "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f14480884382521c3ea09af48bfa39627819b007e7c0e179dad4a9a7482841bae32ec8eb",
            ),
            (
                "462e20412e20486179656b",
                "f032de86c8d3c2099478fefb9b2e6a1fef904d3b2470949858ae9f497ff068dbb6ff7cb43fa51946bcd8a87863849aa7f0e663cd83961c752ce3be41384de8a849e4d130d9a2d717a5c7e8",
            ),
            ("4361726c204d656e676572", "cb54ca2168a55a150760c409e2157b9e57ceab823d897bff36eeab"),
            (
                "4a65616e2d426170746973746520536179",
                "948e26c8a5348aec2711343de8e7c8faa7cae4b6bf51e9026eab234ed4f3e8e8fc",
            ),
            (
                "457567656e2042f6686d20766f6e2042617765726b",
                "dbf0cedc457d87e0eaa4629b7167a7e552ac5197d5436a20a1b5ba001ca21116e22669773c",
            ),
        ],
    },
    Vector {
        name: "Noise_IK_25519_ChaChaPoly_BLAKE2s",
        psk: None,
        hash: "48f3cb8bc9319da4ba1e9933991b1c4ed4034f1f126a76d3a1fbcfd7f94248d4",
        messages: &[
            (
                "4c756477696720766f6e204d69736573",
                "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c79440b03ddc7aac5123d06a1b23b71670e32e76c28239a7ca4ac8f784de7e44c1adbfc6e83fef7352a58d9d56157400c0a737b1d171ce368229c7b752ac25b8faf4eca690f6d896f543be02c996ab2b86b76",
            ),
            (
                "4d757272617920526f746862617264",
                "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f144808843d9b5a8927f0ac9655ef76833bc7e5561f42e691ac8404efd6fbd6308b6a27c",
            ),
            ("462e20412e20486179656b", "2c256ed08fcd08c2980f954ee4beaccb61c9581340f5dd2fd1cf3b"),
            ("4361726c204d656e676572", "d6033f70eee20945c7c9dba304e397ee3b284ff5e00fd9efb095d3"),
            (
                "4a65616e2d426170746973746520536179",
                "a9c068ca5d8babf72560652d8e851adbfac35c8a66e810d560863173e96adf4cfe",
            ),
            (
                "457567656e2042f6686d20766f6e2042617765726b",
                "2a09d8f459e5927e40fdd2eddc99bdafb04e13a26f145cb5cfe9e6ba34c94331ebc17d5156",
            ),
        ],
    },
    Vector {
        name: "Noise_XX_25519_ChaChaPoly_BLAKE2s",
        psk: None,
        hash: "6c4c56cf71612f72d05ceb96c0155e6f4ea54a26b504c93de632a2db4a49d200",
        messages: &[
            (
                "4c756477696720766f6e204d69736573",
                "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c79444c756477696720766f6e204d69736573",
            ),
            (
                "4d757272617920526f746862617264",
                "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f1448088437c365eb362a1c991b0557fe8a7fb187d99346765d93ec63db6c1b01504ebeec55a2298d2dbff80eff034d20595153f63a196a6cead1e11b2bb13e336fa13616dd3e8b0a070c882ed3f1a78c7c06c93",
            ),
            (
                "462e20412e20486179656b",
                "46c3307de83b014258717d97781c1f50936d8b7d50c0722a1739654d10392d415b670c114f79b9a4f80541570f77ce88802efa4220cff733e7b5668ba38059ec904b4b8eef9448085faf51",
            ),
            ("4361726c204d656e676572", "d5e83adfaac5dc324a68f1862df54549e56d209fba707205f328b2"),
            (
                "4a65616e2d426170746973746520536179",
                "d102c9029b1f55c788f561ba7737afbccef9c9f1bf2f238167fd40ba9c1c134867",
            ),
            (
                "457567656e2042f6686d20766f6e2042617765726b",
                "cb1ce80960382c6d5d5e740ffb724d1432f0310b200fb6f8424120f506092744baa415e155",
            ),
        ],
    },
    Vector {
        name: "Noise_N_25519_ChaChaPoly_BLAKE2s",
        psk: None,
        hash: "39a2ce8290b63e1e7c94fb9244cea84c645161c0dced1b3f5d0672cf4c6ee4e8",
        messages: &[
            (
                "4c756477696720766f6e204d69736573",
                "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c79441b168ed8bbe8220b52bbbde6593d109d78c299b567f6e69276efcf2659c39073",
            ),
            (
                "4d757272617920526f746862617264",
                "a7b5d1962001e9c4d965ea5f133941e9e6989094bcde637a582c34b954f34a",
            ),
            ("462e20412e20486179656b", "16ff2557d5d671abe58c88d2a31b58e3a494ab3a6498124be0ea3f"),
            ("4361726c204d656e676572", "1a6e85b0ef71c38db2c2bf3ebef1d41dc93e26bea6899187d5633d"),
            (
                "4a65616e2d426170746973746520536179",
                "00ad2b7d0a03a748d0aefd3accee7bbbcc0bb0ed64d685b2ee8af78997a0245e3f",
            ),
            (
                "457567656e2042f6686d20766f6e2042617765726b",
                "5631105c749b9550b27d7926dec0c5b83d4bf207688deccd51b50dd7fc9d5e337bba9c3177",
            ),
        ],
    },
    Vector {
        name: "Noise_Npsk0_25519_ChaChaPoly_BLAKE2s",
        psk: Some("54686973206973206d7920417573747269616e20706572737065637469766521"),
        hash: "0dfb6479246ece9c27d879cf7709d1a5b48fd06b965344dacea76730ca6e2134",
        messages: &[
            (
                "4c756477696720766f6e204d69736573",
                "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c7944425cfde31517d0b610bab9bbd6e699b966415e2ce1454c0d5357dd445756df1f",
            ),
            (
                "4d757272617920526f746862617264",
                "06aaf2d9845c8324f528f20bd1c8f8e11f88b55bc7681798e11d3f745c4264",
            ),
            ("462e20412e20486179656b", "a1ce8e06add10426bc54463a1e7dc3d9f9526f7b44225cfa8eda3a"),
            ("4361726c204d656e676572", "8d07ff4b04a1beba3ac8cf27a3fd5cebdc462383862bc71cb727da"),
            (
                "4a65616e2d426170746973746520536179",
                "9ee57cd3df98a99d460c8948c8fad51636a1f6a548d1b0bf5068d3562afc1461f4",
            ),
            (
                "457567656e2042f6686d20766f6e2042617765726b",
                "3474938c4fac7a52c90be1e0a7c36c48d03a367e292e44a335e7f236eb5f385ec582737be8",
            ),
        ],
    },
];
