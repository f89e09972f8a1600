import { parseFacts } from "@belay/controller/plan/facts";
import t from "tap";

t.test("what facts.json leaves out is the usual", async (t) => {
  const text =
    '{"hosts": {"a": {"version": "5.4.2"}, "b": {"reachable": false, "arch": "arm64", "edition": "ent", "fips": true}}, "managed": {"cloud": {"server_version": "7.1.0"}}}';
  t.same(parseFacts(text, "facts.json"), {
    hosts: {
      a: { version: "5.4.2", reachable: true, os: "linux", arch: "amd64", edition: "oss", fips: false },
      b: { version: null, reachable: false, os: "linux", arch: "arm64", edition: "ent", fips: true },
    },
    managed: { cloud: { server_version: "7.1.0" } },
  });
  t.same(parseFacts("{}", "facts.json"), { hosts: {}, managed: {} });
});

t.test("mistakes name the file and the field", async (t) => {
  t.throws(() => parseFacts("{", "facts.json"), { code: "facts-invalid", message: /^facts\.json: not JSON/ });
  t.throws(() => parseFacts('{"hosts": {"a": {"version": 5}}}', "facts.json"), {
    code: "facts-invalid",
    message: /^facts\.json: facts: \/hosts\/a\/version/,
  });
  t.throws(() => parseFacts('{"hosts": {"a": {"verison": "5.4.2"}}}', "facts.json"), {
    code: "facts-invalid",
    message: /\/hosts\/a/,
  });
  t.throws(() => parseFacts("[]", "facts.json"), { code: "facts-invalid" });
});
