//! Compiles the window.

fn main() {
    // The style is pinned: left open, it depends on the machine that builds.
    let config = slint_build::CompilerConfiguration::new().with_style("fluent".into());
    slint_build::compile_with_config("ui/app.slint", config).expect("the window's own source compiles");
}
