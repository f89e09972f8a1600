import { nameRelease, versionNamed } from "@belay/controller/releases/name";
import { readFileName } from "@belay/controller/releases/tarball";
import t from "tap";

t.test("a file's name says which release of which product it is", async (t) => {
  t.match(readFileName("belay-agent-v0.2.0-linux-arm64.tar.gz"), {
    product: "belay-agent",
    version: "0.2.0",
    arch: "arm64",
    edition: "oss",
  });
  t.match(readFileName("belay-agent-v0.2.0-rc.1-linux-amd64.tar.gz"), { version: "0.2.0-rc.1", arch: "amd64" });
  t.match(readFileName("teleport-ent-v6.2.31-linux-amd64-fips-bin.tar.gz"), {
    product: "teleport",
    edition: "ent",
    fips: true,
  });
  for (const name of [
    "belay-agent-v0.2-linux-amd64.tar.gz",
    "belay-agent-v0.2.0-linux-amd64-bin.tar.gz",
    "belay-v0.2.0-linux-amd64.tar.gz",
  ]) {
    t.throws(() => readFileName(name), { code: "release-name" }, name);
  }
});

t.test("releases of two products never meet under one name", async (t) => {
  const names = ["teleport", "belay-agent"].map((product) => nameRelease({ product, version: "7.1.0" }));
  t.same(names, ["7.1.0", "belay-agent@7.1.0"]);
  t.same(
    names.map((name) => versionNamed(name, "teleport")),
    ["7.1.0", null],
  );
  t.same(
    names.map((name) => versionNamed(name, "belay-agent")),
    [null, "7.1.0"],
  );
});
