import { execFile, spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { chmod, chown, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { PortClaim } from "../fleet-on-disk/ports.js";
import { asUser, type Owner, ServerChild, type User } from "./child.js";

const INSTALLED = "/usr/lib/postgresql";

/** Why no PostgreSQL can be had here, for `t.skip`; false: it can. */
export function whyNoPostgres(): string | false {
  if (binaries() === null) return "no PostgreSQL server here: apt-get install postgresql-15";
  if (spawnSync("sh", ["-c", "command -v psql"]).status !== 0)
    return "no psql here: apt-get install postgresql-client-15";
  return false;
}

/** A real PostgreSQL on loopback with one role, which signs in with a password and owns the databases. */
export class PostgresServer {
  readonly port: number;
  readonly role = "teleport";
  readonly password = "correct-horse";
  /** A file as PGPASSFILE wants it, with the role's password. */
  readonly passFile: string;
  /** Everything of this server lies below it. */
  readonly dir: string;
  readonly #user: User | null;
  readonly #bin: string;
  readonly #child: ServerChild;

  private constructor(dir: string, bin: string, user: User | null, port: number) {
    this.dir = dir;
    this.port = port;
    this.passFile = join(dir, "pgpass");
    this.#bin = bin;
    this.#user = user;
    // A fast shutdown: clients are sent away.
    this.#child = new ServerChild(join(dir, "postgres.log"), "SIGINT");
  }

  /** Started and ready, with the database `teleport`; stopped and gone when its owner ends. */
  static async start(owner: Owner): Promise<PostgresServer> {
    const bin = binaries();
    if (bin === null) throw new Error(String(whyNoPostgres()));
    const ports = new PortClaim();
    const dir = await mkdtemp(join(tmpdir(), "belay-postgres-"));
    const server = new PostgresServer(dir, bin, await unprivileged(), await ports.next());
    owner.teardown(async () => {
      await server.stop();
      ports.release();
      await rm(dir, { recursive: true });
    });
    await server.#initialise();
    await server.start();
    await server.sql("CREATE DATABASE teleport", "postgres");
    return server;
  }

  get pid(): number | null {
    return this.#child.pid;
  }

  /** As Teleport's configuration wants it: the password comes from elsewhere. */
  connString(database = "teleport", role = this.role): string {
    return `postgresql://${role}@127.0.0.1:${this.port}/${database}`;
  }

  start(): Promise<void> {
    // Nothing here outlives its test, so no write need reach the disk; and many such servers share a machine.
    const settings = ["fsync=off", "shared_buffers=16MB", "listen_addresses=127.0.0.1", "unix_socket_directories="];
    const argv = [`${this.#bin}/postgres`, "-D", join(this.dir, "data"), "-p", `${this.port}`];
    return this.#child.start([...argv, ...settings.flatMap((one) => ["-c", one])], () => this.#isReady(), this.#user);
  }

  stop(): Promise<void> {
    return this.#child.stop();
  }

  kill(): Promise<void> {
    return this.#child.kill();
  }

  /** What `psql` prints for one statement, unadorned. Throws when it fails. */
  async sql(statement: string, database = "teleport"): Promise<string> {
    const args = ["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", this.connString(database), "-c", statement];
    const env = { ...process.env, PGPASSFILE: this.passFile };
    return (await promisify(execFile)("psql", args, { env })).stdout.trimEnd();
  }

  async #initialise(): Promise<void> {
    const passwordFile = join(this.dir, "password");
    await writeFile(passwordFile, `${this.password}\n`);
    await writeFile(this.passFile, `127.0.0.1:${this.port}:*:${this.role}:${this.password}\n`, { mode: 0o600 });
    if (this.#user !== null) await chown(this.dir, this.#user.uid, this.#user.gid);
    await chmod(this.dir, 0o755);
    const options = [
      "-U",
      this.role,
      "--pwfile",
      passwordFile,
      "-A",
      "scram-sha-256",
      "-E",
      "UTF8",
      "--locale=C.UTF-8",
    ];
    const argv = [`${this.#bin}/initdb`, "-D", join(this.dir, "data"), "--no-sync", ...options];
    await promisify(execFile)("setpriv", [...asUser(this.#user), ...argv]);
  }

  async #isReady(): Promise<boolean> {
    const { status } = spawnSync(`${this.#bin}/pg_isready`, ["-q", "-h", "127.0.0.1", "-p", `${this.port}`]);
    return status === 0;
  }
}

/** The newest server's folder of programs; null: none is installed. */
function binaries(): string | null {
  if (!existsSync(INSTALLED)) return null;
  const majors = readdirSync(INSTALLED).sort((a, b) => Number(b) - Number(a));
  return majors.map((major) => join(INSTALLED, major, "bin")).find((bin) => existsSync(join(bin, "postgres"))) ?? null;
}

/** PostgreSQL refuses to run as root: the user that its package made, or nobody. Null: this process isn't root. */
async function unprivileged(): Promise<User | null> {
  if (process.getuid?.() !== 0) return null;
  const entries = (await readFile("/etc/passwd", "utf8")).split("\n").map((line) => line.split(":"));
  const entry = entries.find(([name]) => name === "postgres") ?? entries.find(([name]) => name === "nobody");
  if (entry === undefined) throw new Error("neither postgres nor nobody is a user here");
  return { uid: Number(entry[2]), gid: Number(entry[3]) };
}
