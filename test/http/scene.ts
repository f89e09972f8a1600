import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { parseConfig } from "@belay/controller/config";
import { type Daemon, startDaemon } from "@belay/controller/daemon";
import { DOOR_LIMITS, type DoorLimits } from "@belay/controller/http/doors/limits";
import { type Logger, pino } from "pino";
import type { Test } from "tap";
import { create } from "tar";

const FLEET = `
fleet: acme
product: teleport
clusters:
  - name: main
    hosts:
      - { name: auth-1, roles: [auth] }
      - { name: node-1, roles: [node] }
`;

export interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown> & { error?: { code: string; message: string; hint?: string } };
  readonly headers: Headers;
}

export interface SceneOptions {
  readonly log?: Logger;
  readonly now?: () => number;
  readonly limits?: Partial<DoorLimits>;
  /** Called with the new folder before belayd starts in it. */
  readonly prepare?: (dir: string) => Promise<void>;
}

/** A whole belayd in this process, on a port and a folder of its own. */
export class HttpScene {
  readonly dir: string;
  readonly token: string;
  readonly #start: () => Promise<Daemon>;
  #daemon: Daemon;

  private constructor(dir: string, daemon: Daemon, token: string, start: () => Promise<Daemon>) {
    this.dir = dir;
    this.#daemon = daemon;
    this.token = token;
    this.#start = start;
  }

  get daemon(): Daemon {
    return this.#daemon;
  }

  /** Stops it and starts it again on the same folder, on other ports. */
  async restart(): Promise<void> {
    await this.#daemon.stop();
    this.#daemon = await this.#start();
  }

  static async open(t: Test, more = "", options: SceneOptions = {}): Promise<HttpScene> {
    const dir = await mkdtemp(join(tmpdir(), "belay-http-"));
    t.teardown(() => rm(dir, { recursive: true }));
    await options.prepare?.(dir);
    await writeFile(join(dir, "fleet.yaml"), FLEET);
    return HttpScene.startIn(t, dir, more, options);
  }

  /** On a folder that is there already: its fleet, its data. */
  static async startIn(t: Test, dir: string, more = "", options: SceneOptions = {}): Promise<HttpScene> {
    const { log = pino({ level: "silent" }), now = Date.now } = options;
    const config = parseConfig(
      `listen: 127.0.0.1:0\ndataDir: data\nfleet: fleet.yaml\nagents: { plaintextTokens: true }\n${more}`,
      join(dir, "belayd.yaml"),
    );
    const start = () => startDaemon(config, log, now, "0.0.0", { ...DOOR_LIMITS, ...options.limits });
    const daemon = await start();
    const token = (await readFile(join(dir, "data", "api-token"), "utf8")).trim();
    const scene = new HttpScene(dir, daemon, token, start);
    t.teardown(() => scene.daemon.stop());
    return scene;
  }

  async call(
    method: string,
    path: string,
    options: { token?: string | null; body?: unknown; headers?: Record<string, string> } = {},
  ): Promise<Answer> {
    const { token = this.token, body } = options;
    const bytes = body instanceof Uint8Array;
    const response = await fetch(`${this.daemon.address}${path}`, {
      method,
      headers: {
        ...(token === null ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { "content-type": bytes ? "application/octet-stream" : "application/json" }),
        ...options.headers,
      },
      ...(body === undefined ? {} : { body: bytes ? new Uint8Array(body) : JSON.stringify(body) }),
    });
    const text = await response.text();
    const json = response.headers.get("content-type")?.startsWith("application/json") ?? false;
    return {
      status: response.status,
      body: json && text !== "" ? JSON.parse(text) : { text },
      headers: response.headers,
    };
  }

  async tokenOf(host: string): Promise<string> {
    return (await this.call("POST", "/v1/agents/tokens", { body: { host, plaintext: true } })).body.token as string;
  }

  /** A new user with these roles, and a token of theirs. */
  async personOf(name: string, roles: readonly string[], groups: readonly string[] = []): Promise<string> {
    await this.call("POST", "/v1/users", { body: { name, roles, groups } });
    return (await this.call("POST", "/v1/tokens", { body: { name: "tests", user: name } })).body.token as string;
  }

  add(file: string, bytes: Uint8Array, sha256 = digest(bytes)): Promise<Answer> {
    return this.call("POST", `/v1/releases?file=${file}&sha256=${sha256}`, { body: bytes });
  }
}

export function digest(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** A small tarball of these files (or links: `-> target`). */
export async function tarballOf(
  files: Readonly<Record<string, string>>,
  symlink: (target: string, path: string) => Promise<void>,
): Promise<Buffer> {
  const dir = await mkdtemp(join(tmpdir(), "belay-tar-"));
  try {
    for (const [name, content] of Object.entries(files)) {
      await mkdir(dirname(join(dir, name)), { recursive: true });
      if (content.startsWith("-> ")) await symlink(content.slice(3), join(dir, name));
      else await writeFile(join(dir, name), content);
    }
    const file = join(dir, "out.tar.gz");
    await create({ gzip: true, file, cwd: dir, portable: true }, ["teleport"]);
    return await readFile(file);
  } finally {
    await rm(dir, { recursive: true });
  }
}
