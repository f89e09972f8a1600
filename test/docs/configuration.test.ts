import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseConfig as parseAgent } from "@belay/agent";
import { parseConfig as parseBelayd } from "@belay/controller/config";
import t from "tap";
import { parse } from "yaml";

const text = readFileSync(fileURLToPath(new URL("../../docs/configuration.md", import.meta.url)), "utf8");
const examples = [...text.matchAll(/```yaml (belayd|agent)\n(.*?)```/gs)].map(([, kind = "", yaml = ""]) => ({
  kind,
  yaml,
}));

t.test("every example is a configuration", async (t) => {
  t.same(
    examples.map(({ kind }) => kind),
    ["belayd", "belayd", "belayd", "agent", "agent"],
  );
  for (const { kind, yaml } of examples) {
    t.doesNotThrow(() => (kind === "agent" ? parseAgent(yaml, "agent.yaml") : parseBelayd(yaml, "belayd.yaml")), yaml);
  }
});

t.test("the example of belayd.yaml names every field and shows its default", async (t) => {
  const yaml = examples.find(({ kind }) => kind === "belayd")?.yaml ?? "";
  const shown = parseBelayd(yaml, "/etc/belay/belayd.yaml");
  const byDefault = parseBelayd("", "/etc/belay/belayd.yaml");
  // These are off unless they are named.
  t.same(
    { ...shown, releases: null, approversFile: null, tls: null, groups: {}, oidc: null, identity: byDefault.identity },
    byDefault,
  );
  t.same(Object.keys(parse(yaml) as object).sort(), [
    "agents",
    "apiTokenFile",
    "approvers",
    "audit",
    "backupStore",
    "dataDir",
    "fleet",
    "groups",
    "identity",
    "limits",
    "listen",
    "logLevel",
    "managedScheme",
    "oidc",
    "releases",
    "tls",
  ]);
});
