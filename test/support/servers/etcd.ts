import { execFile, spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { PortClaim } from "../fleet-on-disk/ports.js";
import { type Owner, ServerChild } from "./child.js";

/** PEM files for client certificates both ways. */
export interface EtcdTls {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** Why no etcd can be had here, for `t.skip`; false: it can. */
export function whyNoEtcd(): string | false {
  const missing = ["etcd", "etcdctl"].find((program) => spawnSync("sh", ["-c", `command -v ${program}`]).status !== 0);
  return missing === undefined ? false : `no ${missing} here: apt-get install etcd-server etcd-client`;
}

/** A real etcd of one member on loopback, that can be stopped, killed, and started on another data directory. */
export class EtcdServer {
  /** What clients dial. It stays the same over restarts. */
  readonly endpoint: string;
  /** Everything of this server lies below it. */
  readonly dir: string;
  readonly tls: EtcdTls | null;
  readonly #child: ServerChild;
  readonly #peer: string;

  private constructor(dir: string, tls: EtcdTls | null, port: number, peerPort: number) {
    this.dir = dir;
    this.tls = tls;
    this.endpoint = `${tls === null ? "http" : "https"}://127.0.0.1:${port}`;
    this.#peer = `http://127.0.0.1:${peerPort}`;
    this.#child = new ServerChild(join(dir, "etcd.log"), "SIGTERM");
  }

  /** Started and ready; stopped and gone when its owner ends. */
  static async start(owner: Owner, tls: EtcdTls | null = null): Promise<EtcdServer> {
    const ports = new PortClaim();
    const dir = await mkdtemp(join(tmpdir(), "belay-etcd-"));
    const server = new EtcdServer(dir, tls, await ports.next(), await ports.next());
    owner.teardown(async () => {
      await server.stop();
      ports.release();
      await rm(dir, { recursive: true });
    });
    await server.start();
    return server;
  }

  get pid(): number | null {
    return this.#child.pid;
  }

  get dataDir(): string {
    return join(this.dir, "data");
  }

  /** Starts again after a stop or a kill, on what the data directory holds by now. */
  start(dataDir = this.dataDir): Promise<void> {
    const { tls } = this;
    const argv = [
      ...["etcd", "--name", "default", "--data-dir", dataDir, "--logger", "zap", "--log-level", "warn"],
      ...["--listen-client-urls", this.endpoint, "--advertise-client-urls", this.endpoint],
      ...["--listen-peer-urls", this.#peer, "--initial-advertise-peer-urls", this.#peer],
      ...["--initial-cluster", `default=${this.#peer}`],
      ...(tls === null
        ? []
        : ["--client-cert-auth", "--trusted-ca-file", tls.ca, "--cert-file", tls.cert, "--key-file", tls.key]),
    ];
    return this.#child.start(argv, () => this.#isHealthy());
  }

  stop(): Promise<void> {
    return this.#child.stop();
  }

  kill(): Promise<void> {
    return this.#child.kill();
  }

  /** What `etcdctl` prints. Throws when it fails. */
  async ctl(...args: string[]): Promise<string> {
    const { tls } = this;
    const secured = tls === null ? [] : ["--cacert", tls.ca, "--cert", tls.cert, "--key", tls.key];
    const { stdout } = await promisify(execFile)("etcdctl", ["--endpoints", this.endpoint, ...secured, ...args], {
      env: { ...process.env, ETCDCTL_API: "3" },
      maxBuffer: 64 * 1024 * 1024,
    });
    return stdout;
  }

  #isHealthy(): Promise<boolean> {
    return this.ctl("endpoint", "health").then(
      () => true,
      () => false,
    );
  }
}
