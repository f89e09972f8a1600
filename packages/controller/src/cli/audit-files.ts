import { readCheckpoint } from "@belay/shared";
import { tilePath, tilesOf } from "../audit/tiles.js";
import type { LogFiles } from "../audit/verify.js";
import type { Api } from "./api.js";

/** belayd's audit log, over its API. The checkpoint is taken once: entries that come meanwhile are not looked at. */
export async function auditFilesOf(api: Api): Promise<LogFiles & { readonly paths: readonly string[] }> {
  const [checkpoint, key] = await Promise.all([api.auditFile("checkpoint"), api.auditFile("key")]);
  const { size } = readCheckpoint((checkpoint ?? Buffer.alloc(0)).toString("utf8")).checkpoint;
  const first = new Map([
    ["checkpoint", checkpoint],
    ["key", key],
  ]);
  return {
    read: async (path) => (first.has(path) ? (first.get(path) ?? null) : api.auditFile(path)),
    list: async () => null,
    paths: [...first.keys(), ...[...tilesOf(size)].map((tile) => tilePath(tile))],
  };
}
