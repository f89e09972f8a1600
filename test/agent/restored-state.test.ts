import { readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  byToken,
  openJournalDisk,
  parseConfig,
  silentLogger,
  startAgent,
  systemClock,
  systemExec,
  systemHttp,
  webSocketDial,
} from "@belay/agent";
import type { Check, Op, OpOf, VersionProbe } from "@belay/shared";
import t, { type Test } from "tap";
import type { HostOnDisk } from "../support/fleet-on-disk/index.js";
import { cluster, SmallFleet, until } from "../support/fleet-on-disk/small-fleet.js";
import { type KeptState, KINDS, type States } from "../support/states/index.js";
import { FakeController } from "./support/controller.js";

const OLD = "5.4.2";
const NEW = "6.2.31";

t.setTimeout(300_000);
for (const { kind, skip, start } of KINDS) {
  t.test(`the ops of a way back restore auth's state in ${kind} (I4)`, { skip }, async (t) =>
    thereAndBack(t, await start(t)),
  );
}

async function thereAndBack(t: Test, states: States): Promise<void> {
  const state = await states.fresh();
  const fleet = await SmallFleet.layOut(t, OLD, [
    { ...cluster("main", { auth: 1 }), ...(state.server === null ? {} : { state: state.server }) },
  ]);
  const host = fleet.host("auth-1");
  await fleet.install("auth-1", NEW);
  await fleet.install("auth-1", OLD);
  const controller = await agentOf(t, host);
  const done = async (op: Op) => t.match(await controller.step(op), { status: "done", changed: true }, op.kind);

  await done(start(host));
  await until("auth to have written", async () => (await state.audit(host)).length > 20);
  const known = await state.audit(host);
  await done(backup(host, state));
  await done(swap(host, OLD, NEW, "restart"));
  t.equal(await state.version(host), NEW);
  t.same(await state.formats(host), [6]);

  await done({ kind: "stop", service: "teleport", timeoutMs: 10_000 });
  t.match(await controller.step(swap(host, NEW, OLD, "start")), { status: "reverted" }, "the binary alone");
  const [refused] = await fleet.diary("auth-1", "refused");
  t.equal(refused?.reason, `Unsupported upgrade path detected: from ${NEW} to ${OLD}`);

  await done({ kind: "restore", id: "before", dir: host.vars.backups ?? "", service: "teleport" });
  t.equal(await state.version(host), OLD);
  t.same(await state.formats(host), [5]);
  const restored = await state.audit(host);
  t.same(restored.slice(0, known.length), known, "every event from before the backup");
  t.same([...new Set(restored.map(({ version }) => version))], [OLD], "and none from after it");
  await done(swap(host, NEW, OLD, "start"));
  await until("it to write again", async () => (await state.audit(host)).length > restored.length);
  const events = await state.audit(host);
  t.same(
    events,
    events.map((_, i) => ({ seq: i + 1, version: OLD })),
  );
}

/** A real agent in this process for one host, with the agent.yaml that was laid out for it. */
async function agentOf(t: Test, host: HostOnDisk): Promise<FakeController> {
  const controller = await FakeController.listen();
  t.teardown(() => controller.close());
  const text = await readFile(host.agent.config, "utf8");
  const config = parseConfig(text.replace(/^controller: .*$/m, `controller: ${controller.url}`), host.agent.config);
  const { token } = host.agent;
  const agent = await startAgent({
    config,
    controller: byToken(config.controller, token),
    clock: systemClock,
    random: () => 0.5,
    dial: webSocketDial(byToken(config.controller, token)),
    http: systemHttp,
    exec: systemExec,
    log: silentLogger,
    leave: () => undefined,
    machine: { os: "linux", arch: "x64" },
    journalDisk: await openJournalDisk(join(host.agent.stateDir, "journal")),
    env: { PATH: process.env.PATH ?? "", STANDIN_MIGRATION_MS: "100" },
    redial: { baseMs: 20, capMs: 100, stableMs: 1000, refusedMs: 500 },
  });
  t.teardown(() => agent.stop());
  return controller;
}

function checks({ diag }: HostOnDisk): Check[] {
  return [{ kind: "process" }, { kind: "http", url: `${diag}/readyz`, status: 200, timeoutMs: 1000 }];
}

function start(host: HostOnDisk): Op {
  return { kind: "start", service: "teleport", checks: checks(host), settleMs: 100, timeoutMs: 20_000 };
}

function backup(host: HostOnDisk, state: KeptState): Op {
  const item =
    state.server === null
      ? ({ kind: "sqlite", path: host.vars.backend ?? "", optional: false } as const)
      : ({ kind: "backend", backend: host.vars.backendName ?? "" } as const);
  return { kind: "backup", spec: { id: "before", dir: host.vars.backups ?? "", items: [item], version: OLD } };
}

function swap(host: HostOnDisk, from: string, to: string, how: "restart" | "start"): OpOf<"swap"> {
  const version: VersionProbe[] = [
    { kind: "metric-label", url: `${host.diag}/metrics`, metric: "teleport_build_info", label: "version" },
  ];
  return {
    kind: "swap",
    service: "teleport",
    versionsDir: join(host.install, "versions"),
    link: join(host.install, "current"),
    from,
    to,
    sha256: null,
    how,
    version,
    checks: checks(host),
    settleMs: 300,
    startTimeoutMs: 20_000,
    stopTimeoutMs: 5_000,
    snapshot: null,
    revertTo: how === "start" ? "stopped" : "running",
  };
}
