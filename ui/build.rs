//! Compiles the window, with its fonts, icons and languages in it.

fn main() {
    // The style is pinned: left open, it depends on the machine that builds. Debug information is what tests find elements by.
    let config = slint_build::CompilerConfiguration::new()
        .with_style("fluent".into())
        .with_debug_info(std::env::var("PROFILE").as_deref() == Ok("debug"))
        .with_default_translation_context(slint_build::DefaultTranslationContext::None)
        .with_bundled_translations("lang");
    slint_build::compile_with_config("ui/app.slint", config).expect("the window's own source compiles");
}
