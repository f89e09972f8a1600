import { execFileSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeCertificate } from "../../support/certificates.js";
import type { Owner } from "../../support/servers/child.js";
import { EtcdServer, type EtcdTls } from "../../support/servers/etcd.js";

/** A real etcd as agent.yaml names it, and as a test looks into it. */
export class EtcdBackend {
  readonly url: string;
  readonly #tls: EtcdTls | null;

  private constructor({ endpoint, tls }: EtcdServer) {
    this.url = endpoint;
    this.#tls = tls;
  }

  static async start(owner: Owner, options: { tls?: boolean } = {}): Promise<EtcdBackend> {
    const tls = options.tls === true ? await makeTls(owner) : null;
    return new EtcdBackend(await EtcdServer.start(owner, tls));
  }

  /** agent.yaml's words for it. */
  config(prefix: string, more = ""): string {
    const tls = this.#tls;
    const files = tls === null ? "" : `, caFile: ${tls.ca}, certFile: ${tls.cert}, keyFile: ${tls.key}`;
    return `{ kind: etcd, endpoints: ["${this.url}"], prefix: ${prefix}${files}${more} }`;
  }

  env(user?: string): NodeJS.ProcessEnv {
    const tls = this.#tls;
    const files = tls === null ? {} : { ETCDCTL_CACERT: tls.ca, ETCDCTL_CERT: tls.cert, ETCDCTL_KEY: tls.key };
    const who = user === undefined ? {} : { ETCDCTL_USER: user };
    return { ...process.env, ETCDCTL_API: "3", ETCDCTL_ENDPOINTS: this.url, ...files, ...who };
  }

  ctl(argv: string[], options: { user?: string; input?: string } = {}): string {
    const { user, input } = options;
    const io = input === undefined ? {} : { input };
    return execFileSync("etcdctl", argv, { env: this.env(user), encoding: "utf8", ...io });
  }

  /** Writes many keys, a hundred at a time, while this process goes on: the agent under test lives in it. */
  async fill(pairs: Iterable<readonly [key: string, value: string]>): Promise<void> {
    const base64 = (text: string) => Buffer.from(text).toString("base64");
    let success: object[] = [];
    const write = async () => {
      const answer = await fetch(`${this.url}/v3/kv/txn`, { method: "POST", body: JSON.stringify({ success }) });
      if (!answer.ok) throw new Error(await answer.text());
      await answer.arrayBuffer();
      success = [];
    };
    for (const [key, value] of pairs) {
      success.push({ request_put: { key: base64(key), value: base64(value) } });
      if (success.length === 100) await write();
    }
    if (success.length > 0) await write();
  }

  put(key: string, value: string | Buffer): void {
    const quoted = value.length === 0 ? ["put", key, ""] : ["put", key];
    execFileSync("etcdctl", quoted, { env: this.env(), input: value });
  }

  /** Everything below a prefix, values in base64: `{key: value}`. */
  all(prefix: string, user?: string): Record<string, string> {
    const said = execFileSync("etcdctl", ["get", "--prefix", prefix, "-w", "json"], {
      env: this.env(user),
      encoding: "utf8",
      maxBuffer: 1 << 30,
    });
    const { kvs = [] } = JSON.parse(said) as { kvs?: { key: string; value?: string }[] };
    return Object.fromEntries(kvs.map(({ key, value = "" }) => [Buffer.from(key, "base64").toString(), value]));
  }
}

/** One certificate for both ends. */
async function makeTls(owner: Owner): Promise<EtcdTls> {
  const dir = await mkdtemp(join(tmpdir(), "belay-etcd-tls-"));
  owner.teardown(() => rm(dir, { recursive: true }));
  const { ca, certificate: cert, key } = await makeCertificate(dir, ["IP:127.0.0.1"], ["serverAuth", "clientAuth"]);
  return { ca, cert, key };
}
