import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { manualPage } from "../../scripts/package/man/roff.js";
import { packages } from "./built.js";

const skip =
  spawnSync("man", ["--version"]).error !== undefined && "there is no man here (Debian's packages man-db, groff)";

t.test("every page renders without a warning", { skip }, async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "belay-manual-"));
  t.teardown(() => rmSync(dir, { recursive: true }));
  for (const deb of Object.values(packages)) execFileSync("dpkg-deb", ["--extract", deb, dir]);
  const pages = readdirSync(join(dir, "usr/share/man"), { recursive: true, encoding: "utf8" }).filter((name) =>
    name.endsWith(".gz"),
  );
  t.same(pages.map((page) => page.slice(5, -3)).sort(), [
    "agent.yaml.5",
    "belay-agent.8",
    "belay-audit-verify.1",
    "belay.1",
    "belayd.8",
    "belayd.yaml.5",
    "fleet.yaml.5",
  ]);
  for (const page of pages) {
    const { stderr, stdout } = render(join(dir, "usr/share/man", page));
    t.equal(stderr, "", page);
    t.match(stdout, /^NAME$/m);
    t.notMatch(stdout, /```|\*\*|\]\(/, `${page} shows no Markdown`);
  }
  t.match(render(join(dir, "usr/share/man/man1/belay.1.gz")).stdout, /belay run rollback \[run\]/);
  t.match(render(join(dir, "usr/share/man/man5/agent.yaml.5.gz")).stdout, /tokenFile: \/etc\/belay\/token/);
});

/** As Debian's own checks do: every warning there is, in a terminal of 80 columns. */
function render(page: string): { stdout: string; stderr: string } {
  const env = { ...process.env, LC_ALL: "C.UTF-8", MANWIDTH: "80", MANROFFSEQ: "" };
  return spawnSync("man", ["--warnings", "--encoding=UTF-8", "--local-file", "-P", "cat", page], {
    encoding: "utf8",
    env,
  });
}

t.test("what Markdown says arrives, whatever it contains", async (t) => {
  const page = manualPage(
    [
      "# Title",
      "## A section",
      "Words with `code-like`, **weight** and a [link](x.md),",
      ".begun with a dot, it's fine \\ so.",
      "",
      "- one\n- two",
      "",
      "```",
      ".not a request",
      "```",
      "| a | b |\n|---|---|\n| `--flag` | what it is |",
    ].join("\n"),
    { name: "thing", section: 1, date: "2026-01-01", source: "Thing 1" },
  );
  t.same(page.split("\n").slice(1), [
    ".nh",
    ".ad l",
    '.SH "A SECTION"',
    ".PP",
    "Words with \\fBcode\\-like\\fR, \\fBweight\\fR and a link, .begun with a dot, it\\(aqs fine \\e so.",
    ".IP \\(bu 2",
    "one",
    ".IP \\(bu 2",
    "two",
    ".PP",
    ".RS 4",
    ".EX",
    "\\&.not a request",
    ".EE",
    ".RE",
    ".TP",
    "\\fB\\-\\-flag\\fR",
    "what it is",
    "",
  ]);
});
