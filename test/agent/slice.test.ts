import { once } from "node:events";
import { rmSync, statSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { type HostFacts, PROTOCOL, type SwapResult } from "@belay/shared";
import t from "tap";
import { World } from "./support/world.js";

/** Real processes on shared cores. */
t.setTimeout(120_000);

t.test("a release is for everybody on the host, whatever mask the agent was started with", async (t) => {
  const world = await World.make(t);
  world.install("5.4.2");
  world.linkTo("5.4.2");
  const mask = process.umask(0o077);
  world.spawn();
  process.umask(mask);
  await world.controller.connected();
  t.match(await world.controller.step(await world.release("6.2.31")), { status: "done", changed: true });
  const folder = join(world.versionsDir, "6.2.31");
  t.equal((statSync(folder).mode & 0o777).toString(8), "755");
  t.equal((statSync(join(folder, "svc")).mode & 0o777).toString(8), "755");
  t.equal((statSync(join(world.stateDir, "journal")).mode & 0o777).toString(8), "600");
  rmSync(`${world.dir}/pack`, { recursive: true });
});

t.test("an agent process connects, looks, fetches and swaps", async (t) => {
  const world = await World.make(t);
  const { controller } = world;
  world.install("5.4.2");
  world.linkTo("5.4.2");
  world.initially = "running";
  world.spawn();
  const hello = await controller.until(() => controller.all("hello")[0]);
  t.match(hello, { host: "host-1", protocol: PROTOCOL.newest, open: [] });
  t.same(controller.authorizations[0], "Bearer a-token-of-a-host");

  t.same(await controller.step({ kind: "noop" }), { status: "done", changed: false });
  const health = await controller.step({
    kind: "health",
    probe: world.probe(),
    expect: "5.4.2",
    settleMs: 100,
    timeoutMs: 5000,
  });
  t.match(health, { status: "done", result: { installed: "5.4.2", running: "5.4.2", healthy: true, ailments: [] } });

  const fetched = await world.release("6.2.31");
  t.match(await controller.step(fetched), { status: "done", changed: true });
  t.match(await controller.step(fetched), { status: "done", changed: false });

  const swapped = await controller.step(world.swapOp("5.4.2", "6.2.31", { sha256: fetched.sha256 }));
  t.match(swapped, { status: "done", changed: true, result: { running: "6.2.31", snapshot: null } });
  t.ok(((swapped as { result: SwapResult }).result.downMs ?? -1) > 0);
  const facts = (await controller.step({ kind: "facts", probe: world.probe() })) as { result: HostFacts };
  t.match(facts.result, { installed: "6.2.31", running: "6.2.31", kept: ["5.4.2", "6.2.31"], healthy: true });
  t.same([world.startsOf("5.4.2"), world.startsOf("6.2.31")], [1, 1]);
  t.ok(controller.all("facts").length >= 2, "facts after the welcome and after the swap");
  rmSync(`${world.dir}/pack`, { recursive: true });
});

t.test("facts that an op has just refuted are told anew before its outcome", async (t) => {
  const world = await World.make(t);
  const { controller } = world;
  world.install("5.4.2");
  world.linkTo("5.4.2");
  world.initially = "running";
  let isUp = false;
  const beside = createServer((_, response) => response.writeHead(isUp ? 200 : 503).end());
  t.teardown(() => beside.close());
  beside.listen(0, "127.0.0.1");
  await once(beside, "listening");
  const own = world.probe();
  const url = `http://127.0.0.1:${(beside.address() as AddressInfo).port}/`;
  const probe = { ...own, checks: [...own.checks, { kind: "http" as const, url, status: 200, timeoutMs: 5_000 }] };
  controller.probe = probe;
  await world.start();
  const health = { kind: "health" as const, probe: own, expect: "5.4.2", settleMs: 0, timeoutMs: 60_000 };
  t.match(await controller.step(health), { status: "done" }, "the service itself is up");
  const told = () => controller.all("facts").map(({ facts }) => facts.healthy);
  t.equal(told().at(-1), false, "something beside it is not");
  // Nothing that the agent watches: only a look shows it.
  isUp = true;
  const step = controller.id();
  const preflight = { kind: "preflight" as const, probe, expect: "5.4.2", needs: [], healthy: true };
  t.match(await controller.step(preflight, { step }), { status: "done" });
  const [facts, outcome] = [
    controller.told.findLastIndex(({ type }) => type === "facts"),
    controller.told.findIndex((each) => each.type === "outcome" && each.step === step),
  ];
  t.equal(told().at(-1), true);
  t.ok(facts < outcome, "a gate that opens on the outcome shows what was found");
  const before = told().length;
  t.match(await controller.step(preflight), { status: "done" });
  t.equal(told().length, before, "who was found well as it was told is not looked at again");
});
