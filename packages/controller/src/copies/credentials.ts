import { readFile, stat } from "node:fs/promises";
import { BelayError } from "@belay/shared";

/** What signs requests to object storage. Lives in memory only; never logged, never part of an error. */
export interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

/**
 * Reads keys in the form that S3 tools share: `aws_access_key_id = ...` and `aws_secret_access_key = ...`, the first
 * section of the file. Throws `credentials-exposed` when everybody on this machine may read it, else
 * `credentials-unreadable`; neither error says what the file holds.
 */
export async function readCredentials(path: string): Promise<Credentials> {
  const text = await readGuarded(path);
  const values = new Map<string, string>();
  for (const line of text.split("\n")) {
    const [, key, value] = /^\s*([a-z_]+)\s*=\s*(\S+)\s*$/.exec(line) ?? [];
    if (key !== undefined && value !== undefined && !values.has(key)) values.set(key, value);
  }
  const accessKeyId = values.get("aws_access_key_id");
  const secretAccessKey = values.get("aws_secret_access_key");
  const sessionToken = values.get("aws_session_token");
  if (accessKeyId === undefined || secretAccessKey === undefined) {
    throw new BelayError("credentials-unreadable", `${path} does not hold an access key and its secret`, {
      hint: "Two lines: aws_access_key_id = ... and aws_secret_access_key = ...",
    });
  }
  return { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) };
}

async function readGuarded(path: string): Promise<string> {
  try {
    const { mode } = await stat(path);
    if ((mode & 0o007) !== 0) {
      throw new BelayError("credentials-exposed", `${path} can be read by everybody on this machine`, {
        hint: `chmod 600 ${path}, and change the key if others may have seen it.`,
      });
    }
    return await readFile(path, "utf8");
  } catch (error) {
    if (error instanceof BelayError) throw error;
    throw new BelayError(
      "credentials-unreadable",
      `${path}: ${(error as NodeJS.ErrnoException).code ?? "unreadable"}`,
      {
        hint: "backupStore.credentialsFile in belayd.yaml names it.",
      },
    );
  }
}
