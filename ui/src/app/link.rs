//! Signing in and out, how the link stands, syncing, history and activity.

use super::files::MODES;
use super::shown::{Showing, label, op};
use super::{App, State, handler, handler1, model};
use crate::desk::{Ask, Deeds, Found, HistorySource, SignInFailed, Trouble, look, set_aside};
use crate::presenters::pace::Pace;
use crate::presenters::progress::Progress;
use crate::presenters::values::Names;
use crate::settings::Settings;
use crate::window::{
    ActivityLine, Browse, ChangeLine, Conn, Detail, History as HistoryWindow, HistoryLine, Import as ImportWindow, Layers,
    Pending, Report, Settings as SettingsWindow, Shell, SignIn, SignInFault, SyncFault, Words,
};
use slint::{ComponentHandle, SharedString};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;
use tombolo_client::login::{computer_name, device_name_of};
use tombolo_client::paths::{STORE_FILE, store_folder};
use tombolo_client::protocol::change::Op;
use tombolo_client::protocol::ids::{DeviceId, RowKey, TableTag};
use tombolo_client::protocol::message::History;
use tombolo_client::store::Account;
use tombolo_client::url::ServerUrl;
use tombolo_client::{Connection, Mode, SyncDone, SyncError, SyncProgress};

/// With these the data file itself is at fault; with others it may be well again.
fn is_of_file(why: &Trouble) -> bool {
    matches!(why, Trouble::Damaged(_) | Trouble::Older)
}

impl App {
    pub(super) fn bind_link(self: &Rc<Self>) {
        let shell = self.get::<Shell>();
        shell.set_has_network_switch(self.network.is_some());
        shell.on_sync(handler(self, |app| {
            // Whoever has the list of changes open, and left some out, does not push those by a key.
            let some = app.get::<Shell>().get_pending_open() && !app.state.borrow().left_out.is_empty();
            app.sync(some.then(|| app.chosen()), false);
        }));
        shell.on_cancel_sync(handler(self, |app| app.ask(Ask::CancelSync)));
        shell.on_mode_chosen(handler(self, |app| app.mode_chosen()));
        shell.on_toggle_network(handler(self, |app| app.toggle_network()));
        shell.on_open_history(handler(self, |app| app.open_history()));
        shell.on_open_activity(handler(self, |app| app.open_activity()));
        shell.on_sign_in_again(handler(self, |app| app.show_sign_in(true)));
        shell.on_retry_store(handler(self, |app| {
            app.get::<Shell>().set_other_silent(false);
            app.ask(Ask::Retry);
        }));
        shell.on_set_aside(handler(self, |app| app.set_aside()));
        shell.on_show_other(handler(self, |app| {
            app.get::<Shell>().set_other_silent(false);
            app.ask(Ask::ShowOther);
        }));
        shell.on_quit(handler(self, |app| app.close()));
        let sign_in = self.get::<SignIn>();
        sign_in.on_sign_in(handler(self, |app| app.sign_in()));
        sign_in.on_cancel(handler(self, |app| app.get::<SignIn>().set_shown(false)));
        sign_in.on_address_edited(handler(self, |app| app.get::<SignIn>().set_found(0)));
        sign_in.on_address_left(handler1(self, |app, address: SharedString| app.look(&address)));
        self.get::<HistoryWindow>().on_close(handler(self, |app| {
            app.state.borrow_mut().history = None;
            app.get::<Shell>().set_history_open(false);
        }));
        shell.on_free(handler(self, |app| {
            if std::mem::take(&mut app.state.borrow_mut().report_due) {
                app.get::<Shell>().set_report_open(true);
            }
        }));
        self.get::<Report>().on_close(handler(self, |app| app.get::<Shell>().set_report_open(false)));
        let settings = self.get::<SettingsWindow>();
        settings.on_sign_out(handler(self, |app| {
            app.get::<Shell>().set_sign_out_exported(false);
            app.get::<Shell>().set_sign_out_open(true);
        }));
        settings.on_export_then_ask(handler(self, |app| {
            app.state.borrow_mut().leaving = true;
            app.get::<SettingsWindow>().invoke_export();
        }));
        settings.on_sign_out_anyway(handler(self, |app| app.ask(Ask::SignOut)));
        settings.on_push_then_sign_out(handler(self, |app| app.sync(None, true)));
    }

    // ---- the store ----

    pub(super) fn opened(self: &Rc<Self>, account: Option<Account>, has_schema: bool) {
        self.get::<Shell>().set_conn(Conn::Offline);
        self.get::<Shell>().set_can_set_aside(false);
        let signed_in = account.is_some() && has_schema;
        self.account(account);
        if self.get::<SignIn>().get_busy() {
            // The password decides.
        } else if signed_in {
            // It stays over what is there already.
            let sign_in = self.get::<SignIn>();
            sign_in.set_shown(sign_in.get_shown() && sign_in.get_again());
        } else {
            self.show_sign_in(false);
        }
    }

    fn account(self: &Rc<Self>, account: Option<Account>) {
        let shell = self.get::<Shell>();
        if let Some(account) = &account {
            shell.set_user(account.user_name.as_str().into());
            shell.set_server(account.url.as_str().into());
        }
        let no_token = account.as_ref().is_some_and(|account| account.token.is_none());
        self.state.borrow_mut().account = account;
        if no_token {
            shell.set_conn(Conn::NeedsSignIn);
        }
    }

    pub(super) fn not_opened(self: &Rc<Self>, locked: bool, why: Option<&Trouble>) {
        let is_lost = why.is_some_and(is_of_file);
        let why = why.map(|why| self.in_words(why)).unwrap_or_default();
        let shell = self.get::<Shell>();
        shell.set_can_set_aside(is_lost);
        self.get::<Browse>().set_reading(false);
        shell.set_conn(if locked { Conn::StoreLocked } else { Conn::StoreFailed });
        shell.set_conn_why(why.clone());
        let sign_in = self.get::<SignIn>();
        if sign_in.get_busy() {
            // There is nothing to sign in to; the next attempt begins anew.
            sign_in.set_busy(false);
            sign_in.set_detail(why);
            sign_in.set_fault(if locked { SignInFault::Locked } else { SignInFault::NoStore });
            let folder = self.state.borrow().store.clone();
            self.leave();
            self.set_damaged(is_lost.then_some(folder));
        }
    }

    /// The store of whoever tried to sign in is damaged, or not any more.
    fn set_damaged(&self, folder: Option<PathBuf>) {
        self.get::<SignIn>().set_damaged(folder.is_some());
        self.state.borrow_mut().damaged = folder;
    }

    /// A damaged data file is put aside: that of whoever tried to sign in, else the one that the window began with.
    fn set_aside(self: &Rc<Self>) {
        let damaged = self.state.borrow().damaged.clone();
        let Some(folder) = damaged else { return self.ask(Ask::SetAside) };
        let sign_in = self.get::<SignIn>();
        let url = whole_address(&sign_in.get_address()).parse();
        if url.is_ok_and(|url| self.folder_of(&url, sign_in.get_name().trim()) == folder) {
            sign_in.set_busy(true);
            set_aside(folder.join(STORE_FILE), self.sink(None));
        } else {
            // Somebody else stands there by now.
            self.sign_in();
        }
    }

    /// It is put aside. Whoever tried to sign in does so now.
    pub(super) fn was_set_aside(self: &Rc<Self>, place: &str) {
        if self.state.borrow().damaged.is_some() {
            self.set_damaged(None);
            self.get::<SignIn>().set_busy(false);
            if self.get::<SignIn>().get_shown() {
                self.sign_in();
            }
        }
        self.toast(self.get::<Words>().invoke_set_aside(place.into()), None, false);
    }

    /// Nobody signed in. Whoever was here before that was tried, and mistyped their name perhaps, has their data back.
    fn leave(self: &Rc<Self>) {
        let before = self.state.borrow_mut().before.take();
        self.forget();
        if let Some(folder) = before {
            self.get::<SignIn>().set_again(true);
            self.start_desk(&folder);
        }
    }

    /// A window that comes back from being small lies on top. Under Wayland no window comes back by itself, but one that is opened
    /// does lie there; where the event loop would take the last window that is hidden for the end, it stays where it is.
    pub(super) fn come_to_front(&self) {
        let window = self.window().window();
        // One that is being closed stays away.
        if !window.is_visible() {
            return;
        }
        if std::env::var_os("WAYLAND_DISPLAY").is_none() {
            window.set_minimized(true);
            window.set_minimized(false);
        } else if self.on_closed.borrow().is_some() {
            let (size, is_maximized) = (window.size(), window.is_maximized());
            window.set_maximized(false);
            // One that cannot be hidden is shown as it is.
            let _ = window.hide();
            if !is_maximized {
                window.set_size(size);
            }
            let _ = window.show();
            window.set_maximized(is_maximized);
        }
    }

    pub(super) fn other_shown(self: &Rc<Self>, shown: bool) {
        if shown {
            self.close();
        } else {
            self.get::<Shell>().set_other_silent(true);
        }
    }

    // ---- signing in and out ----

    pub(super) fn show_sign_in(self: &Rc<Self>, again: bool) {
        let (address, name) = {
            let state = self.state.borrow();
            match &state.account {
                Some(account) => (account.url.clone(), account.user_name.clone()),
                None => (state.settings.address.clone(), state.settings.name.clone()),
            }
        };
        let sign_in = self.get::<SignIn>();
        sign_in.set_again(again);
        sign_in.set_hides(false);
        sign_in.set_busy(false);
        sign_in.set_fault(SignInFault::None);
        sign_in.set_password("".into());
        sign_in.set_address(address.as_str().into());
        sign_in.set_name(name.into());
        sign_in.set_device(self.device_name().into());
        sign_in.set_found(0);
        sign_in.set_shown(true);
        self.set_damaged(None);
        if !address.is_empty() {
            self.look(&address);
        }
    }

    /// What people call this device: as it was typed at the last sign-in, or what the computer calls itself.
    fn device_name(&self) -> String {
        let typed = device_name_of(&self.state.borrow().settings.device);
        typed.or_else(computer_name).unwrap_or_default()
    }

    fn look(self: &Rc<Self>, address: &str) {
        let sign_in = self.get::<SignIn>();
        if address.trim().is_empty() {
            return sign_in.set_found(0);
        }
        sign_in.set_found(1);
        look(whole_address(address), self.sink(None));
    }

    pub(super) fn found(self: &Rc<Self>, address: &str, found: Found) {
        let sign_in = self.get::<SignIn>();
        // Another one may stand there by now.
        if whole_address(&sign_in.get_address()) == address {
            sign_in.set_found(if found == Found::Server { 2 } else { 3 });
        }
    }

    fn sign_in(self: &Rc<Self>) {
        let sign_in = self.get::<SignIn>();
        let (address, name, password) = (sign_in.get_address(), sign_in.get_name(), sign_in.get_password());
        let (address, name) = (whole_address(&address), name.trim().to_owned());
        if address.is_empty() || name.is_empty() || password.is_empty() {
            return sign_in.set_fault(SignInFault::Incomplete);
        }
        let url: ServerUrl = match address.parse() {
            Ok(url) => url,
            Err(error) => {
                sign_in.set_detail(format!("{error}").into());
                return sign_in.set_fault(SignInFault::Address);
            }
        };
        let is_other = |account: &Account| account.user_name != name || account.url.parse().ok() != Some(url.clone());
        let other = match &self.state.borrow().account {
            Some(account) => is_other(account),
            // A store that was begun anew is that of whoever had the one before it.
            None => self.is_of_another(&url, &name),
        };
        if other && self.would_lose_typed() {
            return sign_in.set_fault(SignInFault::Unsaved);
        }
        sign_in.set_fault(SignInFault::None);
        sign_in.set_busy(true);
        self.set_damaged(None);
        if other {
            let before = {
                let state = self.state.borrow();
                let stays = state.account.as_ref().is_some_and(|account| account.token.is_some());
                stays.then(|| state.store.clone())
            };
            self.forget();
            self.state.borrow_mut().before = before;
        }
        if self.desk.borrow().is_none() {
            self.start_desk(&self.folder_of(&url, &name));
        }
        let device = device_name_of(&sign_in.get_device()).unwrap_or_else(|| self.device_name());
        self.ask(Ask::SignIn { address, name, password: password.to_string(), device });
    }

    /// The store that is open is that of the last sign-in, which was another person's.
    fn is_of_another(&self, url: &ServerUrl, name: &str) -> bool {
        let state = self.state.borrow();
        let is_last = !state.settings.store.is_empty() && Path::new(&state.settings.store) == state.store;
        drop(state);
        is_last && self.desk.borrow().is_some() && self.folder_of(url, name) != self.state.borrow().store
    }

    /// Where the store of a person is: that of the last sign-in, where it was theirs, else one of their own.
    fn folder_of(&self, url: &ServerUrl, name: &str) -> PathBuf {
        let state = self.state.borrow();
        let Settings { address, name: last, store, .. } = &state.settings;
        let was_theirs = last == name && address.parse().ok().as_ref() == Some(url) && !store.is_empty();
        if was_theirs { PathBuf::from(store) } else { store_folder(&self.data, url, name) }
    }

    /// Somebody else comes: their store is closed, and nothing of it is left in the window. What is pending stays in it.
    fn forget(self: &Rc<Self>) {
        self.close_form();
        self.close_desk();
        {
            let mut state = self.state.borrow_mut();
            let State { settings, zone, next_toast, .. } = std::mem::take(&mut *state);
            *state = State { settings, zone, next_toast, ..State::default() };
        }
        self.rows.clear();
        self.hits.clear();
        for lines in [&self.review, &self.ready] {
            lines.set_vec(Vec::new());
        }
        self.lines.set_vec(Vec::new());
        self.clear_import();
        self.get::<ImportWindow>().set_busy(false);
        self.get::<SettingsWindow>().set_exported("".into());
        self.get::<HistoryWindow>().set_lines(model(Vec::new()));
        self.tables.set_vec(Vec::new());
        self.details.set_vec(Vec::new());
        self.toasts.set_vec(Vec::new());
        let browse = self.get::<Browse>();
        browse.set_reading(false);
        self.get::<Pending>().set_reading(true);
        browse.set_total(0);
        browse.set_of(0);
        browse.set_selected(-1);
        browse.set_table_title("".into());
        browse.set_text("".into());
        self.beside.set_vec(Vec::new());
        self.filters.set_vec(Vec::new());
        browse.set_filters_used(0);
        self.get::<Detail>().set_shown(false);
        self.get::<HistoryWindow>().set_activity(model(Vec::new()));
        let shell = self.get::<Shell>();
        shell.set_modes_open(false);
        shell.set_filters_open(false);
        shell.set_pending_open(false);
        shell.set_conflict_open(false);
        shell.set_history_open(false);
        shell.set_activity_open(false);
        shell.set_report_open(false);
        shell.set_import_open(false);
        shell.set_settings_open(false);
        shell.set_delete_open(false);
        shell.set_discard_open(false);
        shell.set_delete_title("".into());
        shell.set_sign_out_open(false);
        shell.set_user("".into());
        shell.set_workspace("".into());
        shell.set_last_sync("".into());
        shell.set_pending(0);
        shell.set_review(0);
        shell.set_conn(Conn::Offline);
        // Not over what was there, but in its place.
        self.get::<SignIn>().set_again(false);
    }

    pub(super) fn signed_in(self: &Rc<Self>, result: Result<Account, SignInFailed>) {
        let sign_in = self.get::<SignIn>();
        sign_in.set_busy(false);
        let (fault, detail) = match result {
            Ok(account) => {
                sign_in.set_password("".into());
                sign_in.set_shown(false);
                {
                    let mut state = self.state.borrow_mut();
                    state.before = None;
                    if state.settings.address != account.url {
                        // Another server, and nobody knows how far away.
                        state.settings.pace = Pace::default();
                    }
                    state.settings.address.clone_from(&account.url);
                    state.settings.name.clone_from(&account.user_name);
                    state.settings.device = sign_in.get_device().into();
                    state.settings.store = state.store.display().to_string();
                }
                self.keep_settings();
                self.account(Some(account));
                // Where nothing comes by itself, the first rows are fetched now.
                if self.state.borrow().settings.client_mode() == Mode::Metered {
                    self.sync(Some(BTreeSet::new()), false);
                }
                return;
            }
            Err(SignInFailed::Wrong) => (SignInFault::WrongPassword, String::new()),
            Err(SignInFailed::Unreachable) => (SignInFault::NotFound, String::new()),
            Err(SignInFailed::Wait(seconds)) => (SignInFault::Wait, seconds.to_string()),
            Err(SignInFailed::NotTombolo) => (SignInFault::NotTombolo, String::new()),
            Err(SignInFailed::Trouble(why)) => (SignInFault::ServerTrouble, why),
            Err(SignInFailed::Address(why)) => (SignInFault::Address, why),
            Err(SignInFailed::Refused(why)) => (SignInFault::Refused, why),
            Err(SignInFailed::Newer) => (SignInFault::Newer, String::new()),
            Err(SignInFailed::Store(trouble)) => (SignInFault::NoStore, self.in_words(&trouble).into()),
            Err(SignInFailed::Other(why)) => (SignInFault::OtherOwner, why),
        };
        sign_in.set_detail(detail.into());
        sign_in.set_fault(fault);
        // A store that belongs to nobody yet, or to somebody who did not show that they are it, is closed: whoever signs in next
        // gets that of their own name.
        if !sign_in.get_again() {
            self.leave();
        }
    }

    pub(super) fn signed_out(self: &Rc<Self>) {
        if let Some(account) = &mut self.state.borrow_mut().account {
            account.token = None;
        }
        let shell = self.get::<Shell>();
        shell.set_settings_open(false);
        shell.set_conn(Conn::NeedsSignIn);
        self.show_sign_in(true);
        self.get::<SignIn>().set_hides(true);
    }

    // ---- the link ----

    pub(super) fn connection(self: &Rc<Self>, connection: Connection) {
        let (conn, since, why) = {
            let mut state = self.state.borrow_mut();
            state.connection = connection;
            if state.syncing {
                return;
            }
            let signed_out = state.account.as_ref().is_some_and(|account| account.token.is_none());
            let locale = state.locale();
            match &state.connection {
                _ if signed_out => (Conn::NeedsSignIn, None, String::new()),
                Connection::Connecting => (Conn::Connecting, None, String::new()),
                Connection::CatchingUp => (Conn::CatchingUp, None, String::new()),
                Connection::Online => (Conn::Online, None, String::new()),
                Connection::NeedsLogin => (Conn::NeedsSignIn, None, String::new()),
                Connection::ServerUnreachable { since_ms, why } => {
                    (Conn::Unreachable, locale.recent(*since_ms, now_ms()), why.clone())
                }
                Connection::CaptivePortal { what } => (Conn::Portal, None, what.clone()),
                Connection::OtherServer => (Conn::OtherServer, None, String::new()),
                Connection::UpdateNeeded => (Conn::UpdateNeeded, None, String::new()),
                Connection::StoreFailed { error } => (Conn::StoreFailed, None, self.in_words(&error.into()).into()),
                _ => (Conn::Offline, None, String::new()),
            }
        };
        let shell = self.get::<Shell>();
        shell.set_conn_since(since.unwrap_or_default().into());
        shell.set_conn_why(why.into());
        shell.set_conn(conn);
        self.show_estimate();
    }

    /// How far away the server is, is kept with the settings.
    pub(super) fn connected(self: &Rc<Self>, took: Duration) {
        {
            let mut state = self.state.borrow_mut();
            let url = state.account.as_ref().and_then(|account| account.url.parse::<ServerUrl>().ok());
            state.settings.pace.connected(took, url.is_some_and(|url| url.is_secure()));
        }
        self.keep_settings();
        self.show_estimate();
    }

    fn mode_chosen(self: &Rc<Self>) {
        let mode = MODES.get(super::at(self.get::<Shell>().get_mode())).copied().unwrap_or_default();
        let client_mode = {
            let mut state = self.state.borrow_mut();
            state.settings.mode = mode;
            state.settings.client_mode()
        };
        self.keep_settings();
        self.ask(Ask::Mode(client_mode));
    }

    fn toggle_network(self: &Rc<Self>) {
        if let Some(switch) = self.network {
            self.ask(Ask::Network { switch, on: !self.get::<Shell>().get_network_on() });
        }
    }

    // ---- syncing ----

    pub(super) fn sync(self: &Rc<Self>, only: Option<BTreeSet<RowKey>>, sign_out: bool) {
        let needs = self.state.borrow().account.as_ref().is_none_or(|account| account.token.is_none());
        let is_shut = matches!(self.get::<Shell>().get_conn(), Conn::StoreFailed | Conn::StoreLocked);
        if is_shut || !self.has_begun.get() {
            return;
        }
        if needs {
            let again = self.state.borrow().account.is_some();
            return self.show_sign_in(again);
        }
        // The report of the one before is not wanted over this one.
        self.state.borrow_mut().report_due = false;
        self.get::<Browse>().set_typing(false);
        if self.state.borrow().syncing {
            self.state.borrow_mut().sign_out_wanted |= sign_out;
            return;
        }
        let shell = self.get::<Shell>();
        {
            let sent = only.as_ref().map_or(shell.get_pending() - shell.get_review(), |only| super::int(only.len()));
            let mut state = self.state.borrow_mut();
            state.syncing = true;
            state.was_open = state.is_connected();
            state.progress = Progress::new(u64::try_from(shell.get_pending() - sent).unwrap_or(0));
            state.signing_out = sign_out;
        }
        shell.set_progress(-1);
        shell.set_conn(Conn::Syncing);
        self.ask(Ask::Sync { only, sign_out });
    }

    pub(super) fn progress(self: &Rc<Self>, progress: &SyncProgress) {
        if !self.state.borrow().syncing {
            return;
        }
        let percent = {
            let mut state = self.state.borrow_mut();
            state.progress.see(progress);
            state.progress.percent()
        };
        let shell = self.get::<Shell>();
        shell.set_conn(Conn::Syncing);
        shell.set_progress(percent.unwrap_or(-1));
    }

    /// Why a sync did not come to its end, for `Words.sync-fault`.
    fn sync_fault(&self, error: &SyncError) -> (SyncFault, SharedString) {
        let nothing = SharedString::new();
        match error {
            SyncError::Unreachable { why } => (SyncFault::Unreachable, why.into()),
            SyncError::CaptivePortal { what } => (SyncFault::Portal, what.into()),
            SyncError::NeedsLogin => (SyncFault::NeedsSignIn, nothing),
            SyncError::OtherServer => (SyncFault::OtherServer, nothing),
            SyncError::UpdateNeeded => (SyncFault::UpdateNeeded, nothing),
            SyncError::Cancelled => (SyncFault::Stopped, nothing),
            SyncError::TimedOut => (SyncFault::TimedOut, nothing),
            SyncError::Busy => (SyncFault::Busy, nothing),
            SyncError::Store(error) => (SyncFault::Store, self.in_words(&error.into())),
            other => (SyncFault::Other, other.to_string().into()),
        }
    }

    /// A sync has ended, and this many changes wait, some of them for the person; nobody knows where the store failed.
    pub(super) fn synced(self: &Rc<Self>, result: Result<SyncDone, SyncError>, waiting: Option<(usize, usize)>) {
        let (connection, language, at, signing_out, again) = {
            let mut state = self.state.borrow_mut();
            state.syncing = false;
            let signing_out = std::mem::take(&mut state.signing_out);
            let again = std::mem::take(&mut state.sign_out_wanted);
            if let Ok(done) = &result {
                let was_open = state.was_open;
                state.settings.pace.synced(done.bytes_up + done.bytes_down, done.duration_ms, was_open);
            }
            (state.connection.clone(), state.settings.language, state.locale().moment(state.last_sync_ms), signing_out, again)
        };
        self.connection(connection);
        let shell = self.get::<Shell>();
        if let Some((pending, review)) = waiting {
            shell.set_pending(super::int(pending));
            shell.set_review(super::int(review));
        }
        if again {
            return self.sync(None, true);
        }
        if signing_out && result.is_ok() && waiting.is_some_and(|(pending, _)| pending == 0) {
            return;
        }
        let report = self.get::<Report>();
        report.set_waiting(shell.get_pending());
        report.set_to_decide(shell.get_review());
        report.set_at(at.unwrap_or_default().into());
        match result {
            Ok(SyncDone { report: done, bytes_up, bytes_down, duration_ms }) => {
                report.set_failed(false);
                report.set_pushed(super::int(done.pushed));
                report.set_pulled(super::int(done.pulled));
                report.set_merged(super::int(done.merged));
                report.set_up(language.bytes(bytes_up).into());
                report.set_down(language.bytes(bytes_down).into());
                report.set_seconds(language.seconds(duration_ms).into());
                self.keep_settings();
            }
            Err(error) => {
                let (fault, why) = self.sync_fault(&error);
                // A store that failed does not say what is pending, so that nothing can be told of what went out.
                let known = fault != SyncFault::Store;
                let (sent, (up, down)) = {
                    let state = self.state.borrow();
                    (state.progress.sent(), state.progress.bytes())
                };
                report.set_pushed(if known { i32::try_from(sent).unwrap_or(i32::MAX) } else { 0 });
                report.set_up(language.bytes(up).into());
                report.set_down(language.bytes(down).into());
                report.set_reached(known && up + down > 0);
                report.set_failed(true);
                report.set_fault(fault);
                report.set_why(why);
            }
        }
        if self.get::<Layers>().get_at_work() {
            // It takes no key from whoever is typing.
            self.state.borrow_mut().report_due = true;
        } else {
            shell.set_report_open(true);
        }
    }

    // ---- history and activity ----

    fn open_history(self: &Rc<Self>) {
        let (key, title) = {
            let mut state = self.state.borrow_mut();
            let Some(row) = &state.row else { return };
            let (key, title) = (row.key, row.title.clone());
            state.history = Some(key);
            (key, title)
        };
        let history = self.get::<HistoryWindow>();
        history.set_title(title.into());
        history.set_lines(model(Vec::new()));
        history.set_loading(true);
        history.set_offline(false);
        history.set_put_away(false);
        history.set_more(false);
        history.set_fetched("".into());
        self.get::<Shell>().set_history_open(true);
        self.ask(Ask::History(key));
    }

    pub(super) fn history(self: &Rc<Self>, key: RowKey, history: Option<History>, names: &Names, source: HistorySource) {
        let words = self.get::<Words>();
        let (yes, no) = (words.invoke_yes(), words.invoke_no());
        let last_seen = match source {
            HistorySource::Server => None,
            HistorySource::Offline { at_ms } | HistorySource::PutAway { at_ms } => at_ms,
        };
        let fetched = last_seen.and_then(|at_ms| self.state.borrow().locale().moment(at_ms)).unwrap_or_default();
        let lines: Vec<HistoryLine> = {
            let state = self.state.borrow();
            let table = state.schema.as_ref().and_then(|schema| schema.table(key.table));
            let Some(table) = table.filter(|_| state.history == Some(key)) else { return };
            let locale = state.locale();
            let own = state.account.as_ref().map(|account| account.device);
            let showing = Showing { locale: &locale, yes: &yes, no: &no, names };
            let show = |tag, value| showing.show_in(table, tag, value);
            let entries = history.iter().flat_map(|history| history.entries.iter().enumerate().map(move |at| (history, at)));
            entries
                .map(|(history, (place, entry))| {
                    let changes = entry.fields.iter().map(|change| {
                        let before = history.before(place, change);
                        ChangeLine {
                            label: label(table, change.field),
                            unknown: before.is_none(),
                            before: before.map(|before| show(change.field, before)).unwrap_or_default(),
                            after: show(change.field, &change.after),
                        }
                    });
                    let lost = entry.lost.iter().map(|(field, value)| ChangeLine {
                        label: label(table, *field),
                        unknown: true,
                        before: "".into(),
                        after: show(*field, value),
                    });
                    let lost: Vec<ChangeLine> = lost.collect();
                    HistoryLine {
                        who: words.invoke_person(entry.by.as_str().into()),
                        device: called(entry.device, &entry.device_name),
                        here: Some(entry.device) == own,
                        when: locale.moment(entry.at_ms).unwrap_or_default().into(),
                        version: entry.version.0.to_string().into(),
                        op: op(entry.op),
                        merged: entry.merged,
                        decided: entry.op == Op::Decide || !lost.is_empty(),
                        lines: model(changes.collect()),
                        lost: model(lost),
                    }
                })
                .collect()
        };
        let window = self.get::<HistoryWindow>();
        window.set_loading(false);
        window.set_offline(matches!(source, HistorySource::Offline { .. }));
        window.set_put_away(matches!(source, HistorySource::PutAway { .. }));
        window.set_fetched(fetched.into());
        window.set_nothing(lines.is_empty());
        window.set_more(history.is_some_and(|history| history.more));
        window.set_lines(model(lines));
    }

    fn open_activity(self: &Rc<Self>) {
        let window = self.get::<HistoryWindow>();
        window.set_activity_loading(true);
        window.set_activity_offline(false);
        window.set_activity_more(false);
        window.set_activity_fetched("".into());
        self.get::<Shell>().set_activity_open(true);
        self.ask(Ask::Activity);
    }

    pub(super) fn activity(self: &Rc<Self>, activity: Deeds) {
        let words = self.get::<Words>();
        let Deeds { deeds, more, source } = activity;
        let (lines, fetched) = {
            let state = self.state.borrow();
            let locale = state.locale();
            let own = state.account.as_ref().map(|account| account.device);
            let lines = deeds.into_iter().map(|deed| {
                let (from, until) = (locale.moment(deed.from_ms), locale.time(deed.until_ms));
                let (from, until) = (from.unwrap_or_default(), until.unwrap_or_default());
                let when = if from.ends_with(&until) { from } else { format!("{from}\u{2013}{until}") };
                let mut by_table: BTreeMap<TableTag, Vec<SharedString>> = BTreeMap::new();
                for ((table, done), count) in &deed.rows {
                    let told = match done {
                        Some(done) => words.invoke_done(op(*done), super::int(*count)),
                        None => locale.language.count(*count).into(),
                    };
                    by_table.entry(*table).or_default().push(told);
                }
                let table = |tag| state.schema.as_ref().and_then(|schema| schema.table(tag));
                let counted = |(tag, done): (TableTag, Vec<SharedString>)| {
                    Some(words.invoke_counted(table(tag)?.label.as_str().into(), done.join(", ").into()))
                };
                let what = by_table.into_iter().filter_map(counted).collect::<Vec<SharedString>>().join(" · ");
                ActivityLine {
                    who: words.invoke_person(deed.who.into()),
                    device: deed.device.map(|device| called(device, &deed.device_name)).unwrap_or_default(),
                    here: deed.device.is_some() && deed.device == own,
                    when: when.into(),
                    what: what.into(),
                }
            });
            let lines: Vec<ActivityLine> = lines.collect();
            let fetched = match source {
                HistorySource::Offline { at_ms: Some(at_ms) } => locale.moment(at_ms),
                _ => None,
            };
            (lines, fetched.unwrap_or_default())
        };
        let window = self.get::<HistoryWindow>();
        window.set_activity_loading(false);
        window.set_activity_offline(matches!(source, HistorySource::Offline { .. }));
        window.set_activity_more(more);
        window.set_activity_fetched(fetched.into());
        window.set_activity(model(lines));
    }
}

/// An address as it was typed; without a scheme it is one of a server that is reached as servers are.
fn whole_address(typed: &str) -> String {
    match typed.trim() {
        typed if typed.is_empty() || typed.contains("://") => typed.to_owned(),
        typed => format!("https://{typed}"),
    }
}

/// A device as people tell it from others: its name, or the beginning of its id. What was imported at the server has none.
fn called(device: DeviceId, name: &str) -> SharedString {
    match name {
        _ if device == DeviceId::default() => SharedString::new(),
        "" => device.to_string().chars().take(8).collect::<String>().into(),
        name => name.into(),
    }
}

/// What a presenter gets as an argument.
fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
