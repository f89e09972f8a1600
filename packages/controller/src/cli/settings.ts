import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { BelayError, decoder } from "@belay/shared";
import Type, { type Static } from "typebox";
import { parse } from "yaml";
import type { Outside } from "./outside.js";

export const DEFAULT_SERVER = "http://127.0.0.1:7440";

/** Where belayd is, how to get in, and as whom. */
export interface Settings {
  /** Without a slash at its end. */
  readonly server: string;
  readonly token: string;
  /** Sent as `by` with everything that is recorded. */
  readonly user: string;
}

/** What the command line says about them. */
export interface SettingFlags {
  readonly server?: string;
  readonly tokenFile?: string;
  readonly as?: string;
}

/** ~/.config/belay/config.yaml */
const ConfigFile = Type.Object(
  {
    server: Type.Optional(Type.String({ minLength: 1 })),
    tokenFile: Type.Optional(Type.String({ minLength: 1 })),
    user: Type.Optional(Type.String({ minLength: 1, maxLength: 128 })),
  },
  { additionalProperties: false },
);
type ConfigFile = Static<typeof ConfigFile>;
const decodeConfig = decoder(ConfigFile, "config.yaml", "config-invalid");

type Surroundings = Pick<Outside, "env" | "home" | "userName">;

/**
 * Flags win over the environment, that over the configuration file, that over the defaults.
 * Throws `config-invalid`, `server-invalid`, `token-missing`, `token-unreadable`.
 */
export async function readSettings(flags: SettingFlags, outside: Surroundings): Promise<Settings> {
  const { env } = outside;
  const path = join(env.XDG_CONFIG_HOME || join(outside.home, ".config"), "belay", "config.yaml");
  const file = await readConfig(path);
  return {
    server: checkServer(flags.server ?? env.BELAY_SERVER ?? file.server ?? DEFAULT_SERVER),
    token: await findToken(flags, env, file, path),
    user: flags.as ?? env.BELAY_USER ?? file.user ?? outside.userName,
  };
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
      hint: "It may hold `server`, `tokenFile` and `user`.",
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

async function findToken(flags: SettingFlags, env: Outside["env"], config: ConfigFile, path: string): Promise<string> {
  if (flags.tokenFile !== undefined) return readToken(flags.tokenFile);
  if (env.BELAY_TOKEN) return env.BELAY_TOKEN.trim();
  const file = env.BELAY_TOKEN_FILE ?? config.tokenFile;
  if (file !== undefined) return readToken(file);
  throw new BelayError("token-missing", "no API token", {
    hint: `Name the file that belayd made (<dataDir>/api-token): --token-file FILE, BELAY_TOKEN_FILE, or tokenFile in ${path}.`,
  });
}

async function readToken(path: string): Promise<string> {
  const text = await readFile(path, "utf8").catch((cause: unknown) => {
    throw new BelayError("token-unreadable", `cannot read the API token: ${(cause as Error).message}`, {
      hint: "belayd makes it at its first start as <dataDir>/api-token, readable by its own user alone.",
      cause,
    });
  });
  const token = text.trim();
  if (!/^[\x21-\x7e]+$/.test(token)) {
    throw new BelayError("token-unreadable", `${path} does not hold an API token`, {
      hint: "A token is one line of printable characters.",
    });
  }
  return token;
}
