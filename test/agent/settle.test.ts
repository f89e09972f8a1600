import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { type Clock, type Host, type Service, type ServiceStatus, settle } from "@belay/agent";
import { BelayError } from "@belay/shared";
import t, { type Test } from "tap";

const SETTLE_MS = 10_000;

/** Time that passes only while somebody sleeps. */
class Hourglass implements Clock {
  at = 1_000;
  /** What happens when it is that late. */
  readonly later = new Map<number, () => unknown>();

  now = () => this.at;
  ticks = () => this.at;

  async sleep(ms: number): Promise<void> {
    const until = this.at + ms;
    for (const [at, happen] of this.later) {
      if (at > until) continue;
      this.later.delete(at);
      await happen();
    }
    this.at = until;
  }

  timer(): () => void {
    throw new Error("nobody sets a timer here");
  }
}

/** A live process that settles, and how often its supervisor was asked about it. */
class Watched {
  readonly clock = new Hourglass();
  readonly child: ChildProcess;
  asked: number[] = [];
  status: ServiceStatus;
  glimpsed: number | null;
  /** What its supervisor says instead of an answer. */
  trouble: BelayError | null = null;

  constructor(t: Test) {
    this.child = spawn("sleep", ["600"]);
    t.teardown(() => this.child.kill("SIGKILL"));
    this.glimpsed = this.child.pid ?? 0;
    this.status = { state: "running", pid: this.glimpsed, restarts: 3, ailments: [] };
  }

  async end(): Promise<void> {
    const ended = once(this.child, "exit");
    this.child.kill("SIGKILL");
    await ended;
  }

  /** Resolves with how long that took. */
  async settle(
    more: { restarts?: number | null; startTimeoutMs?: number; seen?: ServiceStatus } = {},
  ): Promise<number> {
    const service = {
      name: "svc",
      status: async () => {
        this.asked.push(this.clock.at);
        if (this.trouble !== null) throw this.trouble;
        return this.status;
      },
      glimpse: async () => {
        if (this.glimpsed === null && this.trouble !== null) throw this.trouble;
        return this.glimpsed;
      },
    };
    const from = this.clock.at;
    const { restarts = 3, startTimeoutMs = 5_000, seen } = more;
    await settle(
      {
        service: service as unknown as Service,
        checks: [{ kind: "process" }],
        version: null,
        ...{ restarts, startTimeoutMs, settleMs: SETTLE_MS, signal: new AbortController().signal },
        ...(seen === undefined ? {} : { seen }),
      },
      { clock: this.clock, allowed: {} } as unknown as Host,
    );
    return this.clock.at - from;
  }
}

t.test("a process that stays the same is asked about at the beginning and at the end", async (t) => {
  const watched = new Watched(t);
  t.equal(await watched.settle(), SETTLE_MS, "not longer than it was asked for");
  t.same(watched.asked, [1_000, 1_000 + SETTLE_MS]);
});

t.test("whoever has just looked need not look again", async (t) => {
  const watched = new Watched(t);
  await watched.settle({ seen: watched.status });
  t.same(watched.asked, [1_000 + SETTLE_MS]);
});

t.test("a process that is gone is noticed at the next glimpse, though its PID file stays", async (t) => {
  const watched = new Watched(t);
  watched.clock.later.set(4_000, async () => {
    await watched.end();
    watched.status = { ...watched.status, state: "failed", pid: null };
  });
  await t.rejects(watched.settle(), { code: "service-crashed" });
  t.ok(watched.clock.at < 5_000, `at ${watched.clock.at}`);
});

t.test("another main process is noticed at once, and its restart is a crash", async (t) => {
  const watched = new Watched(t);
  watched.clock.later.set(4_000, () => {
    watched.glimpsed = process.pid;
    watched.status = { ...watched.status, pid: process.pid, restarts: 4 };
  });
  await t.rejects(watched.settle(), { code: "service-crashed" });
  t.ok(watched.clock.at < 5_000, `at ${watched.clock.at}`);
});

t.test("where restarts are nobody's crash, each begins the time anew", async (t) => {
  const watched = new Watched(t);
  watched.clock.later.set(4_000, () => {
    watched.glimpsed = process.pid;
    watched.status = { ...watched.status, pid: process.pid, restarts: 4 };
  });
  const ms = await watched.settle({ restarts: null });
  t.ok(ms > SETTLE_MS + 2_500 && ms < SETTLE_MS + 4_000, `${ms} ms`);
});

t.test("what only the supervisor knows keeps it from settling at the end", async (t) => {
  const counted = new Watched(t);
  counted.clock.later.set(4_000, () => {
    counted.status = { ...counted.status, restarts: 4 };
  });
  await t.rejects(counted.settle(), { code: "service-crashed" }, "a restart that left the PID as it was");
  const stopping = new Watched(t);
  stopping.clock.later.set(4_000, () => {
    stopping.status = { ...stopping.status, ailments: ["its PID file is stale"] };
  });
  await t.rejects(stopping.settle(), { code: "unhealthy", message: /stale/ });
});

const RESET = new BelayError("systemctl-failed", "systemctl show svc.service: Connection reset by peer", { hint: "" });
const STALLED = new BelayError("command-timeout", "systemctl took longer than 10000 ms", { hint: "" });

t.test("a supervisor that can't be asked for a moment is no verdict, and the time begins anew (I8)", async (t) => {
  for (const trouble of [RESET, STALLED]) {
    for (const [what, at, glimpsed] of [
      ["at the beginning", 1_000, null],
      ["at the end, when the time to start is up", 10_500, "shows"],
      ["where it is asked at every glimpse", 4_000, null],
    ] as const) {
      const watched = new Watched(t);
      if (glimpsed === null) watched.glimpsed = null;
      const begins = () => {
        watched.trouble = trouble;
        watched.clock.later.set(at + 3_000, () => {
          watched.trouble = null;
        });
      };
      if (at === 1_000) begins();
      else watched.clock.later.set(at, begins);
      const ms = await watched.settle();
      t.ok(ms >= at + 2_000 + SETTLE_MS && ms < at + 4_000 + SETTLE_MS, `${trouble.code} ${what}: ${ms} ms`);
    }
  }
});

t.test("one that can't be asked any more at all is given up on, and so is any other failure at once", async (t) => {
  const watched = new Watched(t);
  watched.trouble = RESET;
  await t.rejects(watched.settle(), { code: "unhealthy", message: /can't be looked at: .*Connection reset/ });
  t.ok(watched.clock.at > 30_000 && watched.clock.at < 33_000, `at ${watched.clock.at}`);
  const long = new Watched(t);
  long.trouble = STALLED;
  await t.rejects(long.settle({ startTimeoutMs: 60_000 }), { code: "unhealthy" });
  t.ok(long.clock.at > 60_000 && long.clock.at < 63_000, `at ${long.clock.at}: the service had that much time`);
  const other = new Watched(t);
  other.trouble = new BelayError("command-not-started", "systemctl: not found", { hint: "" });
  await t.rejects(other.settle(), { code: "command-not-started" });
});

t.test("what happened while nobody could look is seen afterwards", async (t) => {
  const watched = new Watched(t);
  watched.trouble = RESET;
  watched.clock.later.set(4_000, () => {
    watched.trouble = null;
    watched.status = { ...watched.status, restarts: 4 };
  });
  await t.rejects(watched.settle(), { code: "service-crashed" });
});

t.test("a service that ended without an error is gone, too, unless it may be found in any state", async (t) => {
  const atOnce = new Watched(t);
  atOnce.status = { ...atOnce.status, state: "stopped", pid: null };
  await t.rejects(atOnce.settle(), { code: "service-crashed", message: /without an error.*conditions/ });
  t.equal(atOnce.clock.at, 1_000);
  const later = new Watched(t);
  later.clock.later.set(4_000, async () => {
    await later.end();
    later.status = { ...later.status, state: "stopped", pid: null };
  });
  await t.rejects(later.settle({ startTimeoutMs: 60_000 }), { code: "service-crashed" });
  t.ok(later.clock.at < 5_000, `at ${later.clock.at}`);
  await t.rejects(atOnce.settle({ restarts: null }), { code: "unhealthy", message: /the service is stopped/ });
});

t.test("what a boot has yet to start is waited for", async (t) => {
  const watched = new Watched(t);
  const running = watched.status;
  watched.status = { ...running, state: "unknown", pid: null };
  watched.clock.later.set(4_000, () => {
    watched.status = running;
  });
  const ms = await watched.settle();
  t.ok(ms >= SETTLE_MS + 3_000 && ms < SETTLE_MS + 4_000, `${ms} ms`);
});
