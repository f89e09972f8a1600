import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Test } from "tap";
import { unhooked } from "./unhooked.js";

const PROGRAM = fileURLToPath(new URL("./s3-server.mjs", import.meta.url));
export const BUCKET = "backups";
/** The one key that the server knows; it verifies every request's signature with it. */
export const KEYS = "aws_access_key_id = S3RVER\naws_secret_access_key = S3RVER\n";

/** An S3 server as a process of its own, on loopback, with one bucket. */
export class S3Server {
  readonly dir: string;
  readonly endpoint: string;
  readonly credentialsFile: string;
  readonly #process: ChildProcess;

  private constructor(dir: string, endpoint: string, credentialsFile: string, process: ChildProcess) {
    this.dir = dir;
    this.endpoint = endpoint;
    this.credentialsFile = credentialsFile;
    this.#process = process;
  }

  static async open(t: Test): Promise<S3Server> {
    const dir = await mkdtemp(join(tmpdir(), "belay-s3-"));
    const credentialsFile = join(dir, "credentials");
    await writeFile(credentialsFile, KEYS);
    await chmod(credentialsFile, 0o600);
    const [file, args] = unhooked([process.execPath, PROGRAM, join(dir, "data"), BUCKET]);
    const child = spawn(file, args, { stdio: ["ignore", "pipe", "inherit"] });
    const [endpoint] = (await once(createInterface({ input: child.stdout }), "line")) as [string];
    const server = new S3Server(dir, endpoint, credentialsFile, child);
    t.teardown(async () => {
      await server.stop();
      await rm(dir, { recursive: true });
    });
    return server;
  }

  /** Idempotent. */
  async stop(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    this.#process.kill("SIGKILL");
    await once(this.#process, "exit");
  }
}
