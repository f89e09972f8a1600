import type { GateView, HostView, Recap, RunView, StageView } from "@belay/controller/api/contract";
import type { Evidence } from "@belay/controller/run/evidence";

/** 2026-11-23 20:15:00 UTC, when every sample run starts. */
export const START = Date.UTC(2026, 10, 23, 20, 15, 0);
export const RUN = "20261123-201500-3f9c7a";
const SECOND = 1_000;

export function stage(id: string, more: Partial<StageView> = {}): StageView {
  const [hop = "", cluster = "", kind = ""] = id.split(".");
  return {
    id,
    hop,
    cluster,
    kind,
    role: null,
    status: "pending",
    batch: 0,
    batches: 1,
    hosts: { total: 2, ok: 0, failed: 0, active: 0, skipped: 0 },
    startedAt: null,
    endedAt: null,
    ...more,
  };
}

export function doneStage(id: string, hosts: number, from: number, seconds: number): StageView {
  return stage(id, {
    status: "done",
    batch: 1,
    hosts: { total: hosts, ok: hosts, failed: 0, active: 0, skipped: 0 },
    startedAt: START + from * SECOND,
    endedAt: START + (from + seconds) * SECOND,
  });
}

export function evidence(more: Partial<Evidence> = {}): Evidence {
  return {
    done: [
      { stage: "hop-1.main.fetch", hosts: 4, failed: 0, ms: 12 * SECOND },
      { stage: "hop-1.main.backup", hosts: 1, failed: 0, ms: 3 * SECOND },
    ],
    versions: [
      { role: "auth", version: "5.4.2", hosts: 1 },
      { role: "node", version: null, hosts: 1 },
    ],
    unhealthy: [],
    failures: [],
    backups: [
      {
        host: "auth-1",
        backup: "hop-1.main",
        sha256: "9f2c41d2e0aa".padEnd(64, "0"),
        bytes: 12_900_000,
        items: 5,
        takenAt: START + 13 * SECOND,
        version: "5.4.2",
        verified: true,
      },
    ],
    next: [{ stage: "hop-1.main.auth", hosts: ["auth-1"], more: 0 }],
    goingBack: {
      pointOfNoReturn: true,
      takes: `belay run rollback ${RUN} --scope hop: every auth is stopped, its backend restored, and 5.4.2 started again`,
      loses: "everything written to the backend of main since that backup",
    },
    ...more,
  };
}

export function gate(more: Partial<GateView> = {}): GateView {
  return {
    run: RUN,
    gate: "hop-1.main.auth",
    kind: "auth",
    stage: "hop-1.main.auth",
    status: "open",
    approvalsNeeded: 2,
    group: "sre",
    notBy: "olga",
    decisions: [],
    openedAt: START + 20 * SECOND,
    expiresAt: START + 86_420 * SECOND,
    onTimeout: "hold",
    overdue: false,
    pointOfNoReturn: true,
    cause: null,
    evidence: evidence(),
    ...more,
  };
}

export function failureGate(more: Partial<GateView> = {}): GateView {
  return gate({
    gate: "hop-1.main.node.failure-1",
    kind: "failure",
    stage: "hop-1.main.node",
    approvalsNeeded: 1,
    group: null,
    expiresAt: null,
    pointOfNoReturn: false,
    cause: { code: "budget-spent", message: "2 of at most 1 hosts failed in batch 2", hint: "Look at the hosts." },
    evidence: evidence({
      failures: [
        {
          host: "node-2",
          stage: "hop-1.main.node",
          error: { code: "not-settled", message: "/readyz answers 503 after 5 s" },
        },
      ],
    }),
    ...more,
  });
}

/** A run with two stages behind it and its first gate open. */
export function gatedRun(more: Partial<RunView> = {}): RunView {
  return {
    id: RUN,
    plan: "3f9c41d2e0aa".padEnd(64, "0"),
    kind: "upgrade",
    to: "7.1.0",
    check: false,
    status: "waiting",
    result: null,
    startedAt: START,
    startedBy: "olga",
    endedAt: null,
    stages: [
      doneStage("hop-1.main.fetch", 4, 1, 12),
      doneStage("hop-1.main.backup", 1, 13, 3),
      stage("hop-1.main.auth", { status: "gated", hosts: { total: 1, ok: 0, failed: 0, active: 0, skipped: 0 } }),
      stage("hop-1.main.node", { batches: 2, hosts: { total: 3, ok: 0, failed: 0, active: 0, skipped: 0 } }),
      stage("hop-2.main.auth", { hosts: { total: 1, ok: 0, failed: 0, active: 0, skipped: 0 } }),
      stage("hop-2.main.node", { hosts: { total: 3, ok: 0, failed: 0, active: 0, skipped: 0 } }),
    ],
    inFlight: [],
    inFlightTotal: 0,
    gate: gate(),
    waits: [
      {
        code: "gate-open",
        message: "gate hop-1.main.auth waits for 2 approvals from sre",
        since: START + 20 * SECOND,
        unblock: `belay gate approve ${RUN} hop-1.main.auth --reason "..."`,
        gate: "hop-1.main.auth",
      },
    ],
    failures: [],
    brokenGlass: [],
    quarantined: [],
    expectedEndAt: START + 320 * SECOND,
    lastSeq: 40,
    ...more,
  };
}

/** The same run at work on its nodes, one of which failed. */
export function workingRun(more: Partial<RunView> = {}): RunView {
  const before = gatedRun();
  return {
    ...before,
    status: "running",
    stages: [
      ...before.stages.slice(0, 2),
      doneStage("hop-1.main.auth", 1, 40, 9),
      stage("hop-1.main.node", {
        status: "active",
        batch: 2,
        batches: 2,
        hosts: { total: 3, ok: 1, failed: 1, active: 1, skipped: 0 },
        startedAt: START + 60 * SECOND,
      }),
      ...before.stages.slice(4),
    ],
    inFlight: [
      {
        step: `${RUN}/s/node-3/0/1`,
        host: "node-3",
        op: "swap",
        since: START + 80 * SECOND,
        note: "settling, 4 s left",
      },
    ],
    inFlightTotal: 1,
    gate: null,
    waits: [],
    failures: [
      {
        host: "node-2",
        stage: "hop-1.main.node",
        error: { code: "not-settled", message: "/readyz answers 503 after 5 s" },
        at: START + 75 * SECOND,
      },
    ],
    lastSeq: 60,
    ...more,
  };
}

export function endedRun(result: RunView["result"] = "done"): RunView {
  const before = workingRun();
  return {
    ...before,
    status: "ended",
    result,
    endedAt: START + 130 * SECOND,
    inFlight: [],
    inFlightTotal: 0,
    expectedEndAt: null,
    stages: before.stages.map((each) => doneStage(each.id, each.hosts.total, 60, 20)),
    lastSeq: 90,
  };
}

export function recap(rows: readonly Partial<Recap["hosts"][number]>[] = [{}]): Recap {
  return {
    run: RUN,
    result: "done",
    hosts: rows.map((row, index) => ({
      host: `node-${index + 1}`,
      ok: 3,
      changed: 2,
      unreachable: 0,
      failed: 0,
      skipped: 0,
      runs: "7.1.0",
      ...row,
    })),
  };
}

export function host(more: Partial<HostView> = {}): HostView {
  return {
    host: "auth-1",
    declared: true,
    cluster: "main",
    roles: ["auth", "proxy"],
    present: true,
    lastSeenAt: START + 30_000,
    facts: {
      host: "auth-1",
      at: START + 30_000,
      agentVersion: "0.1.0",
      os: "linux",
      arch: "amd64",
      edition: "oss",
      fips: false,
      installed: "5.4.2",
      running: "5.4.2",
      kept: ["5.4.2", "5.4.1"],
      service: { name: "teleport", state: "running", pid: 4711, restarts: 0 },
      healthy: true,
      ailments: [],
      disks: [{ path: "/var/lib/teleport", freeBytes: 10_000_000_000, freeInodes: 100_000 }],
    },
    clockOffsetMs: 0,
    quarantine: null,
    ...more,
  };
}
