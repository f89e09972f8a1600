import { existsSync } from "node:fs";
import type { IdentityView, JoinTokenView } from "@belay/controller/api/contract";
import t, { type Test } from "tap";
import { belay, installAgent, installController } from "../../scripts/lab/belay.js";
import { CONTROL, type LabHost } from "../../scripts/lab/fleet.js";
import { Hosts, whyNoHosts } from "../../scripts/lab/host/hosts.js";
import type { Machine } from "../../scripts/lab/host/machine.js";
import { hostBinds } from "../../scripts/lab/lab.js";
import { labPackages } from "../../scripts/lab/packages.js";
import { until } from "../support/real-fleet/index.js";
import { labName, PATIENCE_MS } from "./scene.js";

t.setTimeout(PATIENCE_MS);

const BOOTED: readonly LabHost[] = [
  { name: "node-1", cluster: "main", role: "node" },
  { name: "node-2", cluster: "main", role: "node" },
];
/** As declared: clusters have auths, which nobody needs here. */
const FLEET: readonly LabHost[] = [
  ...BOOTED,
  { name: "auth-1", cluster: "main", role: "auth" },
  { name: "eu-auth-1", cluster: "eu", role: "auth" },
];
const LOOK_MS = 60_000;
const DAY_MS = 86_400_000;
const HELD = "/var/lib/belay-agent/identity/current.json";
/** Of the Debian package `faketime`: what runs with it has a clock of its own. */
const FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/** Belayd and two hosts with agents from their packages; nothing else runs on them. */
class Scene {
  readonly hosts: Hosts;
  readonly control: Machine;

  private constructor(hosts: Hosts) {
    this.hosts = hosts;
    this.control = hosts.machine(CONTROL);
  }

  static async open(t: Test): Promise<Scene> {
    const hosts = await Hosts.open(labName("identity"), (line) => t.comment(line));
    t.teardown(() => hosts.close());
    const binds = { ...(await hostBinds()), ...(existsSync(FAKETIME) ? { [FAKETIME]: FAKETIME } : {}) };
    await hosts.boot([CONTROL, ...BOOTED.map(({ name }) => name)].map((name) => ({ name, binds })));
    const packages = await labPackages();
    await installController(hosts, FLEET, packages, { settle: "1s" });
    const scene = new Scene(hosts);
    await scene.untilBelayd();
    for (const host of BOOTED) await installAgent(hosts, host, packages);
    await scene.untilConnected("node-1", "node-2");
    return scene;
  }

  machine(name: string): Machine {
    return this.hosts.machine(name);
  }

  async ask<T>(...args: string[]): Promise<T> {
    return JSON.parse((await belay(this.control, [...args, "--json"])).stdout) as T;
  }

  belay(...args: string[]) {
    return belay(this.control, args);
  }

  async identityOf(name: string): Promise<IdentityView | undefined> {
    return (await this.ask<IdentityView[]>("agent", "list")).find(({ host }) => host === name);
  }

  untilBelayd(): Promise<void> {
    const look = async () => (await belay(this.control, ["status"], { alsoFine: [1] })).code === 0 || "no answer";
    return until(look, "belayd answers", LOOK_MS);
  }

  untilConnected(...names: readonly string[]): Promise<void> {
    const look = async () => {
      const all = await this.ask<IdentityView[]>("agent", "list");
      return names.every((name) => all.some(({ host, present }) => host === name && present)) || JSON.stringify(all);
    };
    return until(look, `${names.join(", ")} connected`, LOOK_MS);
  }

  /** What the agent of a host has logged that has this in it, with the milliseconds of its clock. */
  async logged(name: string, text: string): Promise<{ time: number }[]> {
    const said = await this.machine(name).shell("journalctl -u belay-agent -o cat --no-pager");
    const lines = said.split("\n").filter((line) => line.startsWith("{") && line.includes(text));
    return lines.map((line) => JSON.parse(line) as { time: number });
  }

  /** Puts a new token where the agent looks for one. */
  async giveToken(name: string): Promise<void> {
    const { token } = await this.ask<{ token: string }>("agent", "token", "create", "--host", name);
    await this.machine(name).writeFile("/etc/belay/token", `${token}\n`, 0o600);
  }

  /** From the next start on, a unit's clock is that of its host, and so many days. */
  async moveClock(machine: Machine, unit: string, days: number): Promise<void> {
    const lines = [`Environment=LD_PRELOAD=${FAKETIME} FAKETIME=+${days}d FAKETIME_DONT_FAKE_MONOTONIC=1`];
    lines.push("Environment=DONT_FAKE_MONOTONIC=1");
    await machine.writeFile(`/etc/systemd/system/${unit}.service.d/clock.conf`, `[Service]\n${lines.join("\n")}\n`);
    await machine.must(["systemctl", "daemon-reload"]);
  }
}

t.test(
  "identities on booted hosts, over real TLS between them",
  { timeout: PATIENCE_MS, skip: whyNoHosts() ?? false },
  async (t) => {
    const scene = await Scene.open(t);

    await t.test("join: by the token alone, and nobody else on the host can read what it is known by", async (t) => {
      for (const name of ["node-1", "node-2"]) {
        const machine = scene.machine(name);
        t.equal(await machine.shell(`stat -c '%a %U' ${HELD} $(dirname ${HELD})`), "600 root\n700 root\n");
        t.match(await machine.must(["belay-agent", "check-config"]), /identity +joined lab at/);
      }
      const keys = await scene.control.shell("stat -c '%a %U' /var/lib/belay/ca /var/lib/belay/ca/*");
      t.match(keys, /^700 belay\n600 belay\n600 belay\n$/);
      const from = (await scene.ask<JoinTokenView[]>("agent", "token", "list")).map(({ usedFrom }) => usedFrom);
      t.same(from.sort(), [scene.machine("node-1").address, scene.machine("node-2").address].sort());
    });

    await t.test("a stolen token used twice fails, and is reported", async (t) => {
      const thief = scene.machine("node-2");
      const stolen = await scene.machine("node-1").must(["cat", "/etc/belay/token"]);
      await thief.writeFile("/root/token", stolen, 0o600);
      const yaml = (await thief.must(["cat", "/etc/belay/agent.yaml"])).replace("host: node-2", "host: node-1");
      await thief.writeFile("/root/agent.yaml", `${yaml}stateDir: /root/state\n`);
      const ran = await thief.exec([
        "belay-agent",
        "join",
        "--config",
        "/root/agent.yaml",
        "--token-file",
        "/root/token",
      ]);
      t.match([ran.code, ran.stderr], [1, /token-used/]);
      t.equal((await thief.exec(["test", "-e", "/root/state/identity/current.json"])).code, 1);
      const tokens = await scene.ask<JoinTokenView[]>("agent", "token", "list");
      t.match(
        tokens.find(({ host }) => host === "node-1"),
        { refusals: 1, refused: { from: thief.address, why: "token-used" } },
      );
      t.match(
        (await scene.belay("agent", "token", "list")).stdout,
        new RegExp(`1x, last .* from ${thief.address}: token-used`),
      );
      t.match(await scene.control.shell("journalctl -u belayd -o cat --no-pager"), /"join-refused","host":"node-1"/);
      t.match(
        await scene.identityOf("node-1"),
        { present: true, generation: 1, revoked: null },
        "the host itself is untouched",
      );
    });

    await t.test("a revoked host is out at once, and stays out", async (t) => {
      const host = scene.machine("node-1");
      const connections = () =>
        scene.control.shell(`ss -tnH state established '( sport = :7443 )' | grep -cF '${host.address}:' || true`);
      t.equal((await connections()).trim(), "1");
      const asked = Date.now();
      await scene.belay("agent", "revoke", "node-1", "--reason", "stolen disk");
      const answered = Date.now();
      // Whoever was told that it is done can count on it: in this order, whatever the clock says.
      t.equal((await connections()).trim(), "0", "no connection of it is left when the command has ended");
      t.match(await scene.identityOf("node-1"), { present: false, revoked: { by: "root", reason: "stolen disk" } });
      await until(
        async () => (await scene.logged("node-1", "certificate-revoked")).length > 0 || "nothing",
        "its log says why",
        LOOK_MS,
      );
      const [told] = await scene.logged("node-1", "certificate-revoked");
      t.comment(`out ${(told?.time ?? 0) - asked} ms after the command was typed, which took ${answered - asked} ms`);

      await scene.control.must(["systemctl", "restart", "belayd"]);
      await scene.untilBelayd();
      await scene.untilConnected("node-2");
      await host.must(["systemctl", "restart", "belay-agent"]);
      await until(
        async () => (await scene.logged("node-1", "the controller answers 401")).length > 0 || "nothing",
        "refused",
        LOOK_MS,
      );
      t.match(await scene.identityOf("node-1"), { present: false });
      await scene.giveToken("node-1");
      await host.must(["systemctl", "restart", "belay-agent"]);
      await scene.untilConnected("node-1");
      t.match(await scene.identityOf("node-1"), { generation: 2, revoked: null }, "back by a new token");
    });

    await t.test("a copy of a host is noticed, by what the two do to each other", async (t) => {
      const [host, other] = [scene.machine("node-1"), scene.machine("node-2")];
      await other.must(["systemctl", "stop", "belay-agent"]);
      await other.writeFile(HELD.replace("belay-agent", "copy"), await host.must(["cat", HELD]), 0o600);
      const yaml = (await other.must(["cat", "/etc/belay/agent.yaml"])).replace("host: node-2", "host: node-1");
      await other.writeFile("/root/copy.yaml", `${yaml}stateDir: /var/lib/copy\n`);
      await other.shell("systemd-run --quiet --unit copy belay-agent --config /root/copy.yaml");
      const noticed = async () =>
        (await scene.control.shell("journalctl -u belayd -o cat --no-pager")).includes(
          '"identity-cloned","host":"node-1"',
        ) || "not yet";
      await until(noticed, "belayd notices the copy", 3 * LOOK_MS);
      await other.must(["systemctl", "stop", "copy"]);
      await other.must(["systemctl", "start", "belay-agent"]);
      await scene.untilConnected("node-1", "node-2");
      t.match(await scene.identityOf("node-1"), { revoked: null }, "what to do about it is for people to say");
    });

    const noClock = existsSync(FAKETIME) ? false : "there is no libfaketime here";
    await t.test(
      "under a moved clock: renewed after five days, ended after two weeks away",
      { skip: noClock },
      async (t) => {
        const host = scene.machine("node-1");
        const before = await scene.identityOf("node-1");
        for (const [machine, unit] of [
          [scene.control, "belayd"],
          [host, "belay-agent"],
        ] as const) {
          await scene.moveClock(machine, unit, 5);
        }
        await scene.control.must(["systemctl", "restart", "belayd"]);
        await scene.untilBelayd();
        await host.must(["systemctl", "restart", "belay-agent"]);
        await scene.untilConnected("node-1");
        const renewed = async () => {
          const now = await scene.identityOf("node-1");
          return (now?.expiresAt ?? 0) > (before?.expiresAt ?? 0) || JSON.stringify(now);
        };
        await until(renewed, "the certificate is renewed", LOOK_MS);
        t.match(await scene.identityOf("node-1"), { generation: 2 }, "with no new token");

        await host.must(["systemctl", "stop", "belay-agent"]);
        await scene.moveClock(scene.control, "belayd", 19);
        await scene.moveClock(host, "belay-agent", 19);
        await scene.control.must(["systemctl", "restart", "belayd"]);
        await scene.untilBelayd();
        await host.must(["systemctl", "start", "belay-agent"]);
        const refusals = async () => (await scene.logged("node-1", "the controller answers 401")).length;
        const known = await refusals();
        await until(
          async () => (await refusals()) > known || (await refusals()) > 1 || "not yet",
          "it is refused",
          LOOK_MS,
        );
        t.match(await scene.identityOf("node-1"), { present: false });
        t.ok(
          ((await scene.identityOf("node-1"))?.expiresAt ?? 0) < Date.now() + 19 * DAY_MS,
          "its certificate has ended",
        );
        await scene.giveToken("node-1");
        await host.must(["systemctl", "restart", "belay-agent"]);
        await scene.untilConnected("node-1");
        t.match(await scene.identityOf("node-1"), { generation: 3 });
      },
    );
  },
);
