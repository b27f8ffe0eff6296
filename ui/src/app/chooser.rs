//! Choosing a file or a folder in the desktop's own window.

use super::App;
use crate::desk::{PathFor, Tell};
use crate::window::{Import, Settings, Words};
use std::path::PathBuf;
use std::rc::Rc;

/// Shows a window with this title and waits for what is chosen in it; `None` where nothing was, or no window could be shown.
pub type Chooser = fn(PathFor, &str) -> Option<PathBuf>;

/// The desktop's own: by its portal, or by `zenity` where there is none.
pub(super) fn of_desktop(choice: PathFor, title: &str) -> Option<PathBuf> {
    let dialog = rfd::FileDialog::new().set_title(title);
    match choice {
        PathFor::Import => dialog.add_filter("CSV", &["csv", "CSV"]).pick_file(),
        PathFor::Export => dialog.pick_folder(),
    }
}

impl App {
    /// Asks on a thread of its own: the window stays alive for as long as the person looks for the file.
    pub(super) fn choose_path(self: &Rc<Self>, choice: PathFor, title: &str) {
        if std::mem::replace(&mut self.state.borrow_mut().choosing, true) {
            return;
        }
        let (tell, chooser, title) = (self.sink(None), self.chooser, title.to_owned());
        let started = std::thread::Builder::new().name("tombolo-choose".to_owned()).spawn(move || {
            let chosen = chooser(choice, &title);
            tell(Tell::PathChosen(choice, chosen));
        });
        if started.is_err() {
            self.path_chosen(choice, None);
        }
    }

    pub(super) fn path_chosen(self: &Rc<Self>, choice: PathFor, chosen: Option<PathBuf>) {
        self.state.borrow_mut().choosing = false;
        let nothing = self.get::<Words>().invoke_nothing_chosen();
        let path = chosen.map(|path| path.display().to_string());
        match (choice, path) {
            (PathFor::Import, Some(path)) => {
                let import = self.get::<Import>();
                import.set_file(path.as_str().into());
                import.invoke_look(path.into());
            }
            (PathFor::Import, None) => self.get::<Import>().set_trouble(nothing),
            (PathFor::Export, Some(path)) => self.get::<Settings>().set_export_to(path.into()),
            (PathFor::Export, None) => self.get::<Settings>().set_exported(nothing),
        }
    }
}
