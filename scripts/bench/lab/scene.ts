import { randomBytes } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Door } from "../../../test/lab/door.js";
import { Api } from "../../../test/support/real-fleet/index.js";
import { must } from "../../lab/host/command.js";
import type { Machine } from "../../lab/host/machine.js";
import { Lab } from "../../lab/lab.js";
import { labPackages } from "../../lab/packages.js";
import { DIAG } from "../../lab/teleport.js";
import { say } from "../screen.js";

/** The stage's work, the same for everybody. */
export const FROM = "5.4.2";
export const TO = "5.4.3";
const WARM_UP = "5.4.1";
export const NODES = 8;
const ARTIFACT_BYTES = 50_000_000;
const BACKUP_BYTES = 20_000_000;
export const SETTLE_SECONDS = 1;
/** Two auths, two proxies, a leaf of three: what is left of these is the nodes. */
const HOSTS = NODES + 7;
const BELAYD_PORT = 7443;
const RESET_PATIENCE_MS = 120_000;

export const INSTALL = "/opt/belay/teleport";
export const BIG_FILE = "/var/lib/teleport/fullchain.pem";
/** Key, certificate and authority of a node, as files. */
export const SHOWN = "/root/identity";
export const DATABASE = "/var/lib/teleport/proc/sqlite.db";

/** Eight booted nodes, a belayd that holds a release, and ways to reach them: by API, and by SSH. */
export class LabScene {
  readonly lab: Lab;
  readonly api: Api;
  readonly nodes: readonly Machine[];
  readonly artifact: { readonly url: string; readonly sha256: string };
  /** The options of every ssh. */
  readonly ssh: readonly string[];
  readonly #door: Door;

  private constructor(lab: Lab, door: Door, api: Api, sha256: string) {
    this.lab = lab;
    this.#door = door;
    this.api = api;
    this.nodes = lab.fleet
      .filter(({ cluster, role }) => cluster === "main" && role === "node")
      .map(({ name }) => lab.machine(name));
    this.artifact = { sha256, url: `https://${lab.control.address}:${BELAYD_PORT}/v1/artifacts/${sha256}` };
    const options = { StrictHostKeyChecking: "no", UserKnownHostsFile: "/dev/null", LogLevel: "ERROR" };
    const given = Object.entries(options).flatMap(([name, value]) => ["-o", `${name}=${value}`]);
    this.ssh = ["-i", join(lab.hosts.dir, "key"), ...given];
  }

  get dir(): string {
    return this.lab.hosts.dir;
  }

  static async open(name: string): Promise<LabScene> {
    const rollout = { canary: 0, batch: "100%", settle: `${SETTLE_SECONDS}s` };
    const lab = await Lab.start({
      name,
      hosts: HOSTS,
      version: WARM_UP,
      releases: [{ version: FROM }, { version: TO, paddingBytes: ARTIFACT_BYTES }],
      packages: await labPackages(),
      policy: {
        settle: `${SETTLE_SECONDS}s`,
        vars: { tlsCert: BIG_FILE },
        sections: { rollout: { auth: { settle: rollout.settle }, proxy: rollout, node: rollout } },
      },
      say,
    });
    try {
      const ca = (await lab.belay(["ca", "show", "--pem"])).stdout;
      const door = await Door.open(lab.control.address, BELAYD_PORT, ca);
      const api = new Api(door.address, (await lab.control.must(["cat", "/var/lib/belay/api-token"])).trim());
      const release = (await api.releases()).find(({ version }) => version === TO);
      const sha256 = release?.artifacts[0]?.sha256;
      if (sha256 === undefined) throw new Error(`belayd holds no ${TO}`);
      const scene = new LabScene(lab, door, api, sha256);
      await scene.#prepare();
      return scene;
    } catch (error) {
      await lab.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    this.#door.close();
    await this.lab.close();
  }

  /** Every node is as before the stage: the old version runs, nothing of the new one is there. Not measured. */
  async reset(): Promise<void> {
    const back = [
      `ln -sfn ${INSTALL}/versions/${FROM} ${INSTALL}/current.new`,
      `mv -T ${INSTALL}/current.new ${INSTALL}/current`,
      "systemctl restart teleport",
      // What belayd was told last may be from before the restart: the host itself must say that it is up.
      `until curl -fsS -m 2 -o /dev/null ${DIAG}/readyz 2>/dev/null; do sleep 0.1; done`,
      `rm -rf ${INSTALL}/versions/${TO} /var/backups/stage`,
    ];
    await Promise.all(this.nodes.map((node) => node.shell(back.join("\n"))));
    const deadline = Date.now() + RESET_PATIENCE_MS;
    for (;;) {
      const hosts = await this.api.hosts();
      const ready = this.nodes.filter((node) => {
        const facts = hosts.find(({ host }) => host === node.name)?.facts;
        return facts?.running === FROM && facts.healthy;
      });
      if (ready.length === this.nodes.length) break;
      if (Date.now() > deadline) throw new Error(`only ${ready.length} nodes run ${FROM} again`);
      await sleep(500);
    }
    // What the last one left to be written is not the next one's work.
    await must(["sync"], { timeoutMs: RESET_PATIENCE_MS });
  }

  /** Every node says so itself. */
  async check(version: string): Promise<void> {
    for (const node of this.nodes) {
      const metrics = await node.must(["curl", "-sS", `${DIAG}/metrics`]);
      if (!metrics.includes(`version="${version}"`)) throw new Error(`${node.name} does not run ${version}`);
    }
  }

  async #prepare(): Promise<void> {
    const key = join(this.dir, "key");
    await must(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key]);
    const open = await readFile(`${key}.pub`, "utf8");
    const big = randomBytes(BACKUP_BYTES);
    for (const node of this.nodes) {
      await node.writeFile("/root/.ssh/authorized_keys", open, 0o600);
      await writeFile(join(node.root, BIG_FILE), big);
      await this.#wholePython(node);
      await this.#showIdentity(node);
      await node.must(["systemctl", "start", "ssh"]);
    }
  }

  /** The others fetch the artifact at the same door, so they show what the host's agent shows. */
  async #showIdentity(node: Machine): Promise<void> {
    const held = await node.must(["cat", "/var/lib/belay-agent/identity/current.json"]);
    const { key, certificate, authorities } = JSON.parse(held) as Record<string, string> & { authorities: string[] };
    await node.writeFile(`${SHOWN}/key`, key ?? "", 0o600);
    await node.writeFile(`${SHOWN}/certificate`, certificate ?? "");
    await node.writeFile(`${SHOWN}/ca`, authorities.join("\n"));
  }

  /** Debian's minimal Python is not enough for Ansible's modules: the rest comes from this machine, which is a Debian, too. */
  async #wholePython(node: Machine): Promise<void> {
    const version = await node.must(["python3", "-c", "import sys; print('python%d.%d' % sys.version_info[:2])"]);
    const library = `/usr/lib/${version.trim()}`;
    await mkdir(join(node.root, library), { recursive: true });
    await must(["cp", "--archive", "--no-clobber", `${library}/.`, join(node.root, library)]);
  }
}
