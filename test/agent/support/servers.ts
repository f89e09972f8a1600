import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";

type Cleaner = { teardown: (work: () => Promise<void>) => void };

const PG_BIN = "/usr/lib/postgresql/15/bin";

/** Why the servers that a test needs aren't here; false: they are. */
export const noEtcd = missing(["etcd", "etcdctl"]);
export const noPostgres =
  missing(["pg_dump", "psql"]) ||
  (!existsSync(`${PG_BIN}/postgres`) && `there is no ${PG_BIN}/postgres`) ||
  (process.getuid?.() !== 0 && "only root can start a PostgreSQL as another user");
export const noAge = missing(["age", "age-keygen"]);

function missing(programs: string[]): string | false {
  const gone = programs.filter((program) => spawnSync("sh", ["-c", `command -v ${program}`]).status !== 0);
  return gone.length > 0 && `not installed here: ${gone.join(", ")}`;
}

/** One real etcd on loopback, gone with its test. */
export class EtcdServer {
  readonly dir = mkdtempSync(join(tmpdir(), "belay-backups-etcd-"));
  readonly url: string;
  readonly #tls: Certificates | null;
  #child: ChildProcess | null = null;

  private constructor(port: number, tls: boolean) {
    this.url = `${tls ? "https" : "http"}://127.0.0.1:${port}`;
    this.#tls = tls ? certificates(this.dir) : null;
  }

  static async start(t: Cleaner, options: { tls?: boolean } = {}): Promise<EtcdServer> {
    const etcd = new EtcdServer(await freePort(), options.tls ?? false);
    t.teardown(() => etcd.#end());
    const tls = etcd.#tls;
    const secured =
      tls === null
        ? []
        : [`--cert-file=${tls.cert}`, `--key-file=${tls.key}`, `--trusted-ca-file=${tls.ca}`, "--client-cert-auth"];
    const peer = `http://127.0.0.1:${await freePort()}`;
    etcd.#child = spawn(
      "etcd",
      [
        `--data-dir=${join(etcd.dir, "data")}`,
        `--listen-client-urls=${etcd.url}`,
        `--advertise-client-urls=${etcd.url}`,
        `--listen-peer-urls=${peer}`,
        `--initial-advertise-peer-urls=${peer}`,
        `--initial-cluster=default=${peer}`,
        ...secured,
      ],
      { stdio: "ignore" },
    );
    for (let tries = 0; ; tries += 1) {
      if (spawnSync("etcdctl", ["endpoint", "health"], { env: etcd.env() }).status === 0) return etcd;
      if (tries > 100) throw new Error("etcd does not start");
      await wait(100);
    }
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

  async #end(): Promise<void> {
    if (this.#child !== null) await killed(this.#child);
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** One real PostgreSQL on loopback, with a password for everybody, gone with its test. */
export class PostgresServer {
  readonly dir = mkdtempSync(join(tmpdir(), "belay-backups-pg-"));
  readonly port: number;
  readonly passFile = join(this.dir, "pgpass");
  #child: ChildProcess | null = null;

  private constructor(port: number, password: string) {
    this.port = port;
    writeFileSync(this.passFile, `127.0.0.1:${port}:*:*:${password}\n`, { mode: 0o600 });
  }

  static async start(t: Cleaner, password: string): Promise<PostgresServer> {
    const server = new PostgresServer(await freePort(), password);
    t.teardown(() => server.#end());
    const data = join(server.dir, "data");
    const pw = join(server.dir, "pw");
    writeFileSync(pw, password);
    mkdirSync(data);
    for (const path of [server.dir, data, pw]) chownSync(path, idOf("-u"), idOf("-g"));
    const as = ["-u", "postgres", "--"];
    const init = [
      `${PG_BIN}/initdb`,
      "-D",
      data,
      "-U",
      "owner",
      "--auth=scram-sha-256",
      `--pwfile=${pw}`,
      "-E",
      "UTF8",
    ];
    execFileSync("runuser", [...as, ...init, "--no-sync"], { stdio: "ignore", cwd: "/" });
    const argv = [`${PG_BIN}/postgres`, "-D", data, "-p", String(server.port), "-k", server.dir, "-h", "127.0.0.1"];
    server.#child = spawn("setpriv", ["--reuid=postgres", "--regid=postgres", "--clear-groups", ...argv], {
      stdio: "ignore",
      cwd: "/",
    });
    for (let tries = 0; ; tries += 1) {
      if (spawnSync(`${PG_BIN}/pg_isready`, ["-h", "127.0.0.1", "-p", String(server.port)]).status === 0) return server;
      if (tries > 200) throw new Error("PostgreSQL does not start");
      await wait(50);
    }
  }

  config(database: string, more = ""): string {
    const { port, passFile } = this;
    return `{ kind: postgres, host: 127.0.0.1, port: ${port}, database: ${database}, user: owner, passFile: ${passFile}${more} }`;
  }

  sql(database: string, sql: string): string {
    const argv = [
      "-h",
      "127.0.0.1",
      "-p",
      String(this.port),
      "-U",
      "owner",
      "-d",
      database,
      "-w",
      "-X",
      "-q",
      "-A",
      "-t",
    ];
    return execFileSync("psql", [...argv, "-v", "ON_ERROR_STOP=1", "-f", "-"], {
      env: { ...process.env, PGPASSFILE: this.passFile },
      encoding: "utf8",
      input: sql,
    }).trim();
  }

  async #end(): Promise<void> {
    // SIGINT is PostgreSQL's fast shutdown: its own children end with it.
    if (this.#child !== null) await killed(this.#child, "SIGINT");
    rmSync(this.dir, { recursive: true, force: true });
  }
}

interface Certificates {
  ca: string;
  cert: string;
  key: string;
}

/** An authority and one certificate for 127.0.0.1 that serves both ends. */
function certificates(dir: string): Certificates {
  const at = (name: string) => join(dir, name);
  const openssl = (...argv: string[]) => execFileSync("openssl", argv, { stdio: "ignore" });
  const ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  openssl("req", "-x509", ...ec, "-keyout", at("ca.key"), "-out", at("ca.pem"), "-days", "2", "-subj", "/CN=test ca");
  openssl("req", ...ec, "-keyout", at("key.pem"), "-out", at("csr.pem"), "-subj", "/CN=test");
  writeFileSync(at("ext"), "subjectAltName=IP:127.0.0.1\n");
  const signer = ["-CA", at("ca.pem"), "-CAkey", at("ca.key"), "-CAcreateserial", "-extfile", at("ext")];
  openssl("x509", "-req", "-in", at("csr.pem"), ...signer, "-days", "2", "-out", at("cert.pem"));
  return { ca: at("ca.pem"), cert: at("cert.pem"), key: at("key.pem") };
}

function idOf(flag: "-u" | "-g"): number {
  return Number(execFileSync("id", [flag, "postgres"], { encoding: "utf8" }));
}

async function killed(child: ChildProcess, signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill(signal);
  await once(child, "exit");
}

/** Every file below a folder, as one text: to look for what must not be there. */
export function everythingIn(dir: string): string {
  return execFileSync("find", [dir, "-type", "f", "-exec", "cat", "{}", "+"], {
    encoding: "latin1",
    maxBuffer: 1 << 30,
  });
}

export function flipByte(path: string, at: number): void {
  const bytes = readFileSync(path);
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  writeFileSync(path, bytes);
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}
