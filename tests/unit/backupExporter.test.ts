/** The exporter of the backups before a store that does as it is told, one listing after the other. */
import { describe, expect, test } from "vitest";

import { inPrograms } from "./backupPrograms.ts";

const exporter = `
import io, os, socket, struct, threading, time, urllib.error, urllib.request
import exporter

with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
os.environ["METRICS_PORT"] = str(port)
exporter.LISTING_SECONDS, exporter.FIRST_SECONDS = 0.2, 1
exporter.open_container = lambda **options: None
logged = []
exporter.log = lambda module, level, message, **fields: logged.append(f"{level}: {message}")
def collect(container):
    listing = given.pop(0) if len(given) > 1 else given[0]
    if listing == "silence":
        threading.Event().wait()
    if listing == "defect":
        raise ValueError("no time")
    if listing == "slow":
        time.sleep(0.5)
        listing = 0
    return {"groundwork_backup_last_size_bytes": {"": listing}}
exporter.collect = collect

def scrape():
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=3) as answer:
            return [line for line in answer.read().decode().splitlines() if not line.startswith("#")]
    except urllib.error.HTTPError as error:
        return error.code
    except OSError as error:
        return type(error).__name__

def client():
    while not logged:
        time.sleep(0.05)
    print(json.dumps(look()), flush=True)
    os._exit(0)

def served():
    threading.Thread(target=client).start()
    exporter.run()
`;

const scrapes = `${exporter}
def look():
    seen = []
    ends = time.monotonic() + 1.5
    while time.monotonic() < ends:
        answer = scrape()
        if answer not in seen:
            seen.append(answer)
        time.sleep(0.02)
    return {"seen": seen, "logged": logged[1:]}
served()
`;

const goneAway = `${exporter}
def look():
    sys.stderr = io.StringIO()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\\r\\nHost: exporter\\r\\n\\r\\n")
        # Closes with a reset.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    time.sleep(1)
    return {"said": sys.stderr.getvalue(), "then": scrape()}
served()
`;

const figures = (bytes: number, up: number) => [
  `groundwork_backup_last_size_bytes ${bytes}`,
  `groundwork_backup_store_up ${up}`,
];

// Each starts Python, which a busy machine does slowly.
describe("a scrape of the backups' exporter", { timeout: 30_000 }, () => {
  test("is answered at once with what is known while the store keeps silent", () => {
    expect(inPrograms(scrapes, [1, "silence"])).toEqual({ seen: [figures(1, 1)], logged: [] });
  });

  test("fails in time while nothing is known yet", () => {
    expect(inPrograms(scrapes, ["silence"])).toEqual({ seen: [503], logged: [] });
  });

  test("says that the store is not up after a defect, which does not end the renewing", () => {
    expect(inPrograms(scrapes, [1, "defect", 2])).toEqual({
      seen: [figures(1, 1), figures(1, 0), figures(2, 1)],
      logged: ["error: ValueError('no time')"],
    });
  });

  test("of which nobody awaits the answer leaves no traceback", () => {
    expect(inPrograms(goneAway, ["slow"])).toEqual({ said: "", then: figures(0, 1) });
  });
});
