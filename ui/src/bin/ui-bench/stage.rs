//! A window that is drawn into memory, and what a person does to it.

use crate::{PATIENCE, Result, now};
use slint::platform::software_renderer::{MinimalSoftwareWindow, PremultipliedRgbaColor, RepaintBufferType};
use slint::platform::{Platform, PointerEventButton, WindowAdapter, WindowEvent};
use slint::{ComponentHandle, LogicalPosition, PhysicalSize, PlatformError, SharedString};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tombolo_ui::app::{App, Options};
use tombolo_ui::window::{Browse, Shell};

const SIZE: PhysicalSize = PhysicalSize { width: 1280, height: 800 };
/// A display's time for one frame.
const FRAME: Duration = Duration::from_micros(16_667);
/// In the middle of the list.
const LIST: LogicalPosition = LogicalPosition { x: 480.0, y: 500.0 };

struct Drawn(Rc<MinimalSoftwareWindow>);

impl Platform for Drawn {
    fn create_window_adapter(&self) -> Result<Rc<dyn WindowAdapter>, PlatformError> {
        Ok(self.0.clone())
    }
}

/// The window with its picture.
pub struct Stage {
    app: Rc<App>,
    window: Rc<MinimalSoftwareWindow>,
    picture: RefCell<Vec<PremultipliedRgbaColor>>,
    /// When the display's next frame is due.
    next: Cell<Instant>,
}

impl Stage {
    pub fn open(options: Options) -> Result<Self> {
        // Like a window of the system: what did not change is not painted again.
        let window = MinimalSoftwareWindow::new(RepaintBufferType::ReusedBuffer);
        slint::platform::set_platform(Box::new(Drawn(window.clone())))?;
        let app = App::new(options)?;
        app.window().show()?;
        window.set_size(SIZE);
        let picture = RefCell::new(vec![PremultipliedRgbaColor::default(); (SIZE.width * SIZE.height) as usize]);
        Ok(Self { app, window, picture, next: Cell::new(now()) })
    }

    pub fn browse(&self) -> Browse<'_> {
        self.app.window().global()
    }

    pub fn shell(&self) -> Shell<'_> {
        self.app.window().global()
    }

    /// Does something and brings the picture up to date; how long that took, and whether anything was painted.
    pub fn frame(&self, act: impl FnOnce()) -> (Duration, bool) {
        let began = now();
        self.app.pump();
        act();
        slint::platform::update_timers_and_animations();
        let mut picture = self.picture.borrow_mut();
        let painted = self.window.draw_if_needed(|renderer| {
            renderer.render(&mut picture, SIZE.width as usize);
        });
        (began.elapsed(), painted)
    }

    /// A frame when the display's next one is due.
    pub fn next_frame(&self, act: impl FnOnce()) -> (Duration, bool) {
        while let Some(left) = self.next.get().checked_duration_since(now()).filter(|left| !left.is_zero()) {
            std::thread::park_timeout(left);
        }
        self.next.set(now() + FRAME);
        self.frame(act)
    }

    /// [`Stage::next_frame`], that has to show something new.
    pub fn next_painted(&self, act: impl FnOnce()) -> Result<Duration> {
        match self.next_frame(act) {
            (time, true) => Ok(time),
            (_, false) => Err("what was done changed nothing in the picture".into()),
        }
    }

    /// The next frame that shows something new by itself.
    pub fn painted_next(&self) -> Result<Duration> {
        let began = now();
        while began.elapsed() <= PATIENCE {
            if let (time, true) = self.next_frame(|| ()) {
                return Ok(time);
            }
        }
        Err("nothing new came into the picture".into())
    }

    /// Frames until something is so.
    pub fn until(&self, is: impl Fn() -> bool) -> Result<()> {
        let began = now();
        while !is() {
            if began.elapsed() > PATIENCE {
                return Err("what was waited for did not happen".into());
            }
            self.frame(|| ());
            std::thread::park_timeout(Duration::from_millis(1));
        }
        self.frame(|| ());
        Ok(())
    }

    pub fn wheel(&self, delta_y: f32) {
        self.window.dispatch_event(WindowEvent::PointerScrolled { position: LIST, delta_x: 0.0, delta_y });
    }

    pub fn click(&self) {
        let button = PointerEventButton::Left;
        self.window.dispatch_event(WindowEvent::PointerPressed { position: LIST, button });
        self.window.dispatch_event(WindowEvent::PointerReleased { position: LIST, button });
    }

    pub fn key(&self, key: impl Into<SharedString>) {
        let text = key.into();
        self.window.dispatch_event(WindowEvent::KeyPressed { text: text.clone() });
        self.window.dispatch_event(WindowEvent::KeyReleased { text });
    }

    pub fn control(&self, key: &str) {
        let control: SharedString = slint::platform::Key::Control.into();
        self.window.dispatch_event(WindowEvent::KeyPressed { text: control.clone() });
        self.key(key);
        self.window.dispatch_event(WindowEvent::KeyReleased { text: control });
        self.frame(|| ());
    }
}
