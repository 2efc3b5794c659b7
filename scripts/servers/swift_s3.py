"""One-process OpenStack Swift with s3api: the S3 server of the tests.

usage: swift_s3.py FOLDER. Reads {"accessKeyId", "secretAccessKey", "region"} from standard input, prints
{"port"} when it answers, and ends when standard input closes, so that it never outlives its parent.

A proxy and the three storage servers share one event loop: the imports, which are most of the start-up,
are paid once. tempauth insists on memcached; a dictionary in the process takes its place.
"""

import json
import os
import sys

# Before any other import that keeps a socket, or its waits would block the whole loop.
import eventlet

eventlet.monkey_patch()

from eventlet import wsgi  # noqa: E402
from swift.common import utils  # noqa: E402
from swift.common.ring import RingBuilder  # noqa: E402
from swift.common.wsgi import SwiftHttpProtocol, loadapp  # noqa: E402

STORAGE = ("account", "container", "object")
DEVICE = "d1"

STORAGE_CONF = """
[DEFAULT]
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
disable_fallocate = true
# Test data need not survive a power cut.
fallocate_reserve = 0
log_level = ERROR
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""

PROXY_CONF = """
[DEFAULT]
swift_dir = {folder}
log_level = ERROR
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck s3api tempauth slo dlo versioned_writes proxy-server
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:s3api]
use = egg:swift#s3api
location = {region}
allow_no_owner = true
check_bucket_owner = false
[filter:tempauth]
use = egg:swift#tempauth
user_{user} = {secret} .admin
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
[filter:versioned_writes]
use = egg:swift#versioned_writes
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
"""


class Cache:
    """The part of MemcacheRing that the proxy calls. Times are ignored: a test run is short."""

    def __init__(self):
        self.values = {}

    def get(self, key, raise_on_error=False):
        return self.values.get(key)

    def set(self, key, value, serialize=True, time=0, min_compress_len=0, raise_on_error=False):
        self.values[key] = value

    def incr(self, key, delta=1, time=0):
        self.values[key] = int(self.values.get(key, 0)) + int(delta)
        return self.values[key]

    def decr(self, key, delta=1, time=0):
        return self.incr(key, -int(delta))

    def delete(self, key, server_key=None):
        self.values.pop(key, None)


def with_cache(app):
    cache = Cache()

    def cached(environ, start_response):
        environ["swift.cache"] = cache
        return app(environ, start_response)

    return cached


def listen():
    return eventlet.listen(("127.0.0.1", 0))


def write(folder, name, text):
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def build_ring(folder, kind, port):
    builder = RingBuilder(part_power=1, replicas=1, min_part_hours=0)
    builder.add_dev(
        {"region": 1, "zone": 1, "ip": "127.0.0.1", "port": port, "device": DEVICE, "weight": 1.0,
         "replication_ip": "127.0.0.1", "replication_port": port, "meta": ""}
    )
    builder.rebalance()
    builder.get_ring().save(os.path.join(folder, kind + ".ring.gz"))


def serve(sock, conf, name):
    app = with_cache(loadapp(conf, global_conf={"log_name": name}))
    # As Swift itself does: S3 clients look for `ETag`, which eventlet would write `Etag`.
    eventlet.spawn(wsgi.server, sock, app, utils.NullLogger(), protocol=SwiftHttpProtocol,
                   capitalize_response_headers=False)


def main(folder):
    options = json.loads(sys.stdin.readline())
    os.makedirs(os.path.join(folder, "devices", DEVICE), exist_ok=True)
    utils.HASH_PATH_SUFFIX = b"tidegate"
    utils.HASH_PATH_PREFIX = b""
    utils.FALLOCATE_RESERVE, utils.FALLOCATE_IS_PERCENT = 0, False
    sockets = {kind: listen() for kind in STORAGE}
    for kind, sock in sockets.items():
        build_ring(folder, kind, sock.getsockname()[1])
    for kind, sock in sockets.items():
        serve(sock, write(folder, kind + ".conf", STORAGE_CONF.format(folder=folder, kind=kind)), kind)
    proxy = listen()
    user = options["accessKeyId"].replace(":", "_")
    serve(proxy, write(folder, "proxy.conf", PROXY_CONF.format(
        folder=folder, region=options["region"], user=user, secret=options["secretAccessKey"])), "proxy")
    print(json.dumps({"port": proxy.getsockname()[1]}), flush=True)
    # A real thread: reading standard input in the loop would block it.
    real_threading = eventlet.patcher.original("threading")
    real_os = eventlet.patcher.original("os")

    def watch():
        while real_os.read(0, 4096):
            pass
        real_os._exit(0)

    real_threading.Thread(target=watch, daemon=True).start()
    while True:
        eventlet.sleep(3600)


main(sys.argv[1])
