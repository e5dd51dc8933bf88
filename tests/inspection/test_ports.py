"""The ports that sockets and arguments name."""

import shlex

import pytest

from relight.inspection.ports import expanded, listening_of_command, listening_of_socket


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ("--port 8080", [(8080, True)]),
        ("--port=8080", [(8080, True)]),
        ("-p 11211", [(11211, True)]),
        ("-p11211", [(11211, True)]),
        ("-port=80", [(80, True)]),
        ("--http-port 80", [(80, True)]),
        ("--web.listen-address=:9100", [(9100, True)]),
        ("--web.listen-address=0.0.0.0:9100", [(9100, True)]),
        ("--listen tcp://0.0.0.0:80/", [(80, True)]),
        ("--listen [::]:443", [(443, True)]),
        ("-a :6081 -T localhost:6082", [(6081, True)]),
        ("--bind 127.0.0.1:80", [(80, False)]),
        ("--bind [::1]:80", [(80, False)]),
        ("--port 80 --host 127.0.0.1", [(80, False)]),
        ("-l localhost -p 11300", [(11300, False)]),
        ("-l 0.0.0.0 -p 11300", [(11300, True)]),
        ("--bind-address=::1 --port 3306", [(3306, False)]),
        ("--listen 192.0.2.7:80", [(80, False)]),
    ],
)
def test_a_port_and_whether_other_hosts_reach_it(
    arguments: str, found: list[tuple[int, bool]]
) -> None:
    listening = listening_of_command(["/usr/bin/box", *shlex.split(arguments)])
    assert [(each.port, each.is_public) for each in listening] == found


@pytest.mark.parametrize(
    "arguments",
    [
        "-p /run/box.pid",
        "--pidfile=/run/box.pid -p",
        "--support 80 --export 90 --report-interval 5",
        "--port 0 --port 70000 --port eighty",
        "--peer-port 7000 --join 10.0.0.1:7946 --remote-port=9",
        "-b 1024 -a 1 -l 3",
        "8080 box:80",
        "--upstream-address=:80",
    ],
)
def test_what_is_no_port_of_the_service(arguments: str) -> None:
    assert listening_of_command(["/usr/bin/box", *shlex.split(arguments)]) == []


def test_a_port_of_operators_is_not_the_one_that_it_is_there_for() -> None:
    admin, main = listening_of_command(["box", "--admin-port", "9", "--port", "80"])
    assert (admin.port, admin.is_main, admin.source) == (9, False, "--admin-port 9")
    assert (main.port, main.is_main) == (80, True)


def test_sockets_listen_on_ports_of_addresses_and_on_paths() -> None:
    values = ("9090", "0.0.0.0:69", "[::]:80", "127.0.0.1:631", "/run/box.sock", "@abstract", "x:y")
    assert [(each.port, each.is_public) for each in listening_of_socket(values)] == [
        (9090, True),
        (69, True),
        (80, True),
        (631, False),
    ]


def test_variables_are_inserted_as_systemd_does() -> None:
    variables = {"ALL": "--port '80 0' -v", "ONE": "a b"}
    argv = ["box", "$ALL", "${ONE}", "x${ONE}", "$NONE", "cost$"]
    assert expanded(argv, variables) == ["box", "--port", "80 0", "-v", "a b", "xa b", "cost$"]
