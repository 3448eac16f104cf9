//! Recipes that come with Kvant.

/// Name, purpose and text of every preset.
pub const PRESETS: [(&str, &str, &str); 3] = [
    (
        "lossless",
        "8.5 bits everywhere: no difference that a task would show",
        include_str!("../../recipe/lossless.toml"),
    ),
    (
        "balanced",
        "5.5 bits everywhere: under a fifth of the size",
        include_str!("../../recipe/balanced.toml"),
    ),
    (
        "small",
        "4.5 bits everywhere: a seventh of the size",
        include_str!("../../recipe/small.toml"),
    ),
];
