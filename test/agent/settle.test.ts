import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { type Clock, type Host, type Service, type ServiceStatus, settle } from "@belay/agent";
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
        return this.status;
      },
      glimpse: async () => this.glimpsed,
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
