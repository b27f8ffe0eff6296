#!/usr/bin/python3
"""What a screen reader does, over AT-SPI: `reader.py on` tells the desktop that one is there; `reader.py tree PID` prints
what it hears of a program, one JSON object an element; `reader.py press PID LABEL` presses what is called LABEL."""

import json
import sys

import gi

gi.require_version("Atspi", "2.0")
from gi.repository import Atspi, Gio, GLib


def on():
    bus = Gio.bus_get_sync(Gio.BusType.SESSION)
    for name in ("IsEnabled", "ScreenReaderEnabled"):
        value = GLib.Variant("(ssv)", ("org.a11y.Status", name, GLib.Variant("b", True)))
        bus.call_sync(
            "org.a11y.Bus", "/org/a11y/bus", "org.freedesktop.DBus.Properties", "Set", value, None, Gio.DBusCallFlags.NONE, -1
        )


def elements(pid):
    desktop = Atspi.get_desktop(0)
    for at in range(desktop.get_child_count()):
        program = desktop.get_child_at_index(at)
        if program and program.get_process_id() == pid:
            yield from below(program)


def below(element):
    yield element
    for at in range(element.get_child_count()):
        child = element.get_child_at_index(at)
        if child:
            yield from below(child)


def heard(element):
    states = element.get_state_set()
    return {
        "role": element.get_role_name(),
        "name": element.get_name(),
        "description": element.get_description(),
        "focused": states.contains(Atspi.StateType.FOCUSED),
        "focusable": states.contains(Atspi.StateType.FOCUSABLE),
        "actions": element.get_n_actions(),
    }


def press(pid, label):
    for element in elements(pid):
        if element.get_name() == label and element.get_n_actions() > 0:
            return element.do_action(0)
    return False


if sys.argv[1] == "on":
    on()
elif sys.argv[1] == "tree":
    for element in elements(int(sys.argv[2])):
        print(json.dumps(heard(element)))
elif not press(int(sys.argv[2]), sys.argv[3]):
    sys.exit(f"nothing called {sys.argv[3]!r} can be pressed")
