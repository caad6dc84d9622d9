"""What the two test directories have in common: a folder that holds everything, a certificate, a server that is started
and stopped, and addresses that no other lab has. Linux only."""

import argparse
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
MARK = "lab.kind"
STATE = "lab.json"
_held = []


def fail(message):
    sys.exit("%s: %s" % (os.path.basename(sys.argv[0]), message))


def install():
    if subprocess.call([os.path.join(HERE, "install")]):
        fail("packages are missing, see above")


def hold(name):
    """Keeps a name for this process alone, among all labs of the machine; False when another one has it. The lock is a
    socket in Linux's abstract name space, which leaves nothing behind."""
    lock = socket.socket(socket.AF_UNIX)
    try:
        lock.bind("\0syncline-lab-" + name)
    except OSError:
        lock.close()
        return False
    _held.append(lock)
    return True


def is_free(address, port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            return True
        except PermissionError:
            fail("port %d needs root" % port)
        except OSError:
            return False


class Lab:
    """A folder with a test directory in it."""

    def __init__(self, kind, folder):
        self.kind = kind
        self.folder = os.path.abspath(folder)

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def exists(self):
        try:
            with open(self.path(MARK)) as file:
                return file.read() == self.kind
        except OSError:
            return False

    def state(self):
        """What `up` wrote when it was finished, or None."""
        try:
            with open(self.path(STATE)) as file:
                return json.load(file)
        except FileNotFoundError:
            return None

    def create(self, *folders):
        """An empty folder that only its owner can enter. The rest of an `up` that was broken off is removed."""
        if self.exists():
            self.stop()
            shutil.rmtree(self.folder)
        elif os.path.isdir(self.folder) and os.listdir(self.folder):
            fail("%s is not empty, and not a lab of this kind" % self.folder)
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        os.chmod(self.folder, 0o700)
        with open(self.path(MARK), "w") as file:
            file.write(self.kind)
        for name in folders:
            os.makedirs(self.path(name))

    def finish(self, state):
        with open(self.path(STATE), "w") as file:
            json.dump(state, file, indent=1, ensure_ascii=False)

    def certificates(self, names):
        """A certificate authority of its own in tls/ca.pem, and a server certificate for names and addresses."""
        tls = self.path("tls")
        os.makedirs(tls, exist_ok=True)
        kinds = ("IP" if name.replace(".", "").isdigit() else "DNS" for name in names)
        with open(os.path.join(tls, "extensions"), "w") as file:
            file.write("subjectAltName=%s\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n"
                       % ",".join("%s:%s" % pair for pair in zip(kinds, names)))
        key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
        for command in (
                "req -x509 %s -keyout ca.key -out ca.pem -days 3650 -subj /CN=Test-directory-CA "
                "-addext keyUsage=critical,keyCertSign" % key,
                "req -new %s -keyout key.pem -out request.pem -subj /CN=%s" % (key, names[0]),
                "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 "
                "-extfile extensions -out cert.pem"):
            subprocess.run(["openssl"] + command.split(), cwd=tls, check=True, capture_output=True)

    def start(self, command, address, ports):
        """Starts the server with its output in server.log, and waits until every port answers."""
        with open(self.path("server.log"), "ab") as log:
            process = subprocess.Popen(command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       start_new_session=True)
        with open(self.path("server.pid"), "w") as file:
            file.write(str(process.pid))
        end = time.monotonic() + 60
        for port in ports:
            while True:
                try:
                    socket.create_connection((address, port), 1).close()
                    break
                except OSError:
                    if process.poll() is not None or time.monotonic() > end:
                        self.stop()
                        fail("the server did not open port %d of %s; see %s" % (port, address, self.path("server.log")))
                    time.sleep(0.05)

    def processes(self):
        """Processes of the server: those of its session whose output is this lab's log, so that a process number that
        was given out again is never taken for ours."""
        try:
            with open(self.path("server.pid")) as file:
                session = int(file.read())
            log = os.stat(self.path("server.log"))
        except (OSError, ValueError):
            return []
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.getsid(int(name)) == session and os.path.samestat(os.stat("/proc/%s/fd/1" % name), log):
                    found.append(int(name))
            except OSError:
                pass
        return found

    def stop(self):
        for attempt in range(300):
            running = self.processes()
            if not running:
                return
            if attempt in (0, 200):
                for process in running:
                    try:
                        os.kill(process, signal.SIGTERM if attempt == 0 else signal.SIGKILL)
                    except ProcessLookupError:
                        pass
            time.sleep(0.05)
        fail("the server of %s does not end" % self.folder)


def main(kind, description, options, up, start):
    """The command line: up DIR, down DIR, wipe DIR."""
    parser = argparse.ArgumentParser(description=description)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (("up", "make the directory and start it, or start it again; prints how to reach it"),
                       ("down", "stop the server, keep the data"), ("wipe", "stop the server and remove the folder")):
        command = commands.add_parser(name, help=text)
        command.add_argument("dir", help="the folder that holds everything")
        if name == "up":
            command.add_argument("--users", type=int, default=100)
            command.add_argument("--groups", type=int, default=20)
            command.add_argument("--contacts", type=int, default=10)
            command.add_argument("--seed", type=int, default=1)
            command.add_argument("--ldif", help="load this file of fixture-gen instead of making one")
            options(command)
    arguments = parser.parse_args()
    lab = Lab(kind, arguments.dir)
    if arguments.command == "up":
        install()
        if not hold("folder-" + hashlib.sha256(lab.folder.encode()).hexdigest()[:32]):
            fail("another `up` is at work in %s" % lab.folder)
        state = lab.state() if lab.exists() else None
        if state is None:
            state = up(lab, arguments)
            lab.finish(state)
        elif not lab.processes():
            start(lab, state)
        print(json.dumps(state, indent=1, ensure_ascii=False))
    elif not lab.exists():
        if os.path.exists(lab.folder):
            fail("%s is not a lab of this kind" % lab.folder)
    else:
        lab.stop()
        if arguments.command == "wipe":
            shutil.rmtree(lab.folder)


def generate(lab, arguments, *more):
    """An LDIF file with the directory to load."""
    if arguments.ldif:
        return os.path.abspath(arguments.ldif)
    root = os.path.dirname(os.path.dirname(HERE))
    built = [os.path.join(root, "target", kind, "fixture-gen") for kind in ("release", "debug")]
    program = next(([path] for path in built if os.path.exists(path)), None)
    program = program or ["cargo", "run", "--quiet", "--manifest-path", os.path.join(root, "Cargo.toml"), "-p", "syncline-fixture-gen", "--"]
    path = lab.path("data.ldif")
    subprocess.run(program + ["--users", str(arguments.users), "--groups", str(arguments.groups), "--contacts", str(arguments.contacts),
                              "--seed", str(arguments.seed), "--output", path] + list(more), check=True)
    return path
