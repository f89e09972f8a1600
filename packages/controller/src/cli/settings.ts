import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { BelayError, decoder } from "@belay/shared";
import Type, { type Static } from "typebox";
import { parse } from "yaml";
import type { Outside } from "./outside.js";

export const DEFAULT_SERVER = "http://127.0.0.1:7440";

/** Where belayd is, and how to get in. */
export interface Settings {
  /** Without a slash at its end. */
  readonly server: string;
  readonly token: string;
}

/** What the command line says about them. */
export interface SettingFlags {
  readonly server?: string;
  readonly tokenFile?: string;
}

/** ~/.config/belay/config.yaml */
const ConfigFile = Type.Object(
  {
    server: Type.Optional(Type.String({ minLength: 1 })),
    tokenFile: Type.Optional(Type.String({ minLength: 1 })),
  },
  { additionalProperties: false },
);
type ConfigFile = Static<typeof ConfigFile>;
const decodeConfig = decoder(ConfigFile, "config.yaml", "config-invalid");

type Surroundings = Pick<Outside, "env" | "home">;

/** Where belayd is, and the token that was named, if any was. */
export interface WayIn {
  readonly server: string;
  readonly token: string | null;
}

/** Where `belay login` keeps a token. */
export function keptTokenFile(outside: Surroundings): string {
  return join(folderOf(outside), "token");
}

/**
 * Flags win over the environment, that over the configuration file, that over what `belay login` keeps and the defaults.
 * Throws `config-invalid`, `server-invalid`, `token-missing`, `token-unreadable`, `token-elsewhere`.
 */
export async function readSettings(flags: SettingFlags, outside: Surroundings): Promise<Settings> {
  const { server, token } = await readWayIn(flags, outside);
  return { server, token: token ?? (await readKeptToken(server, outside)) };
}

/** As `readSettings`, without what `belay login` keeps. */
export async function readWayIn(flags: SettingFlags, outside: Surroundings): Promise<WayIn> {
  const { env } = outside;
  const file = await readConfig(join(folderOf(outside), "config.yaml"));
  return {
    server: checkServer(flags.server ?? env.BELAY_SERVER ?? file.server ?? DEFAULT_SERVER),
    token: await findToken(flags, env, file),
  };
}

function folderOf({ env, home }: Surroundings): string {
  return join(env.XDG_CONFIG_HOME || join(home, ".config"), "belay");
}

async function readConfig(path: string): Promise<ConfigFile> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return {};
    throw new BelayError("config-unreadable", `${path}: ${(cause as Error).message}`, { cause });
  }
  try {
    return decodeConfig(parse(text) ?? {});
  } catch (cause) {
    throw new BelayError("config-invalid", `${path}: ${(cause as Error).message}`, {
      hint: "It may hold `server` and `tokenFile`.",
      cause,
    });
  }
}

function checkServer(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || (url.protocol !== "http:" && url.protocol !== "https:")) {
    throw new BelayError("server-invalid", `${text} is not the address of a server`, {
      hint: `Write it as ${DEFAULT_SERVER} (--server, BELAY_SERVER or the configuration file).`,
    });
  }
  if (url.protocol === "http:" && !isLoopback(url.hostname)) {
    throw new BelayError("server-refused", `${text}: the token would travel in the clear`, {
      hint: `Reach belayd through an SSH tunnel (ssh -L 7440:127.0.0.1:7440 HOST) or https.`,
    });
  }
  return text.replace(/\/+$/, "");
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "[::1]" || /^127(?:\.\d{1,3}){3}$/.test(host);
}

async function findToken(flags: SettingFlags, env: Outside["env"], config: ConfigFile): Promise<string | null> {
  if (flags.tokenFile !== undefined) return readToken(flags.tokenFile);
  if (env.BELAY_TOKEN) return env.BELAY_TOKEN.trim();
  const file = env.BELAY_TOKEN_FILE ?? config.tokenFile;
  return file === undefined ? null : readToken(file);
}

/** What `belay login` keeps: a token, and below it the server that it was given for. */
export function keptText(token: string, server: string): string {
  return `${token}\n${new URL(server).href}`;
}

/** No other server is shown it, whoever brings a person to name one. */
async function readKeptToken(server: string, outside: Surroundings): Promise<string> {
  const path = keptTokenFile(outside);
  const text = await readTokenFile(path).catch((error: BelayError) => {
    if ((error.cause as NodeJS.ErrnoException | undefined)?.code !== "ENOENT") throw error;
    throw new BelayError("token-missing", "no API token", {
      hint: "Sign in: belay login. Or name a file that holds one: --token-file FILE, BELAY_TOKEN_FILE, or tokenFile in config.yaml.",
    });
  });
  const [token = "", kept = ""] = text.trim().split("\n");
  if (kept === new URL(server).href) return checkToken(token, path);
  throw new BelayError(
    "token-elsewhere",
    `the token that belay login keeps is for ${kept || "no server in particular"}`,
    {
      hint: `Sign in at ${server}: belay login --server ${server}. Or name a file with a token for it: --token-file FILE.`,
    },
  );
}

async function readToken(path: string): Promise<string> {
  return checkToken((await readTokenFile(path)).trim(), path);
}

function readTokenFile(path: string): Promise<string> {
  return readFile(path, "utf8").catch((cause: unknown) => {
    throw new BelayError("token-unreadable", `cannot read the API token: ${(cause as Error).message}`, {
      hint: "belay token create makes them; belayd's first one is <dataDir>/api-token, readable by its own user alone.",
      cause,
    });
  });
}

function checkToken(token: string, path: string): string {
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  throw new BelayError("token-unreadable", `${path} does not hold an API token`, {
    hint: "A token is one line of printable characters.",
  });
}
