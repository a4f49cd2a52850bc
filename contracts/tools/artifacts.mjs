// Writes artifacts/*.json, or with --check compares them with a rebuild.
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { forge, root } from "./forge.mjs";

const CONTRACTS = ["RLC", "DevRLC", "Market", "VanityVerifier", "EthereumVanityVerifier", "PreimageVerifier", "PoolWord", "VanityShop", "Court", "Quorum", "PocoHub", "AppRegistry", "DatasetRegistry", "WorkerpoolRegistry", "Raffle", "PriceFeed", "Voices"];
const folder = join(root, "artifacts");

const files = build();
if (process.argv.includes("--check")) {
  const drifted = drift(files);
  for (const name of drifted) console.error(`artifacts/${name} differs from what src/ compiles to`);
  if (drifted.length > 0) {
    console.error("\nhint: npm run artifacts, and look at the diff before committing it");
    process.exit(1);
  }
} else {
  mkdirSync(folder, { recursive: true });
  for (const [name, text] of files) writeFileSync(join(folder, name), text);
}

function build() {
  const scratch = mkdtempSync(join(tmpdir(), "gristmill-artifacts-"));
  try {
    forge("build", "--force", "--skip", "test", "--out", join(scratch, "out"), "--cache-path", join(scratch, "cache"));
    const compiled = CONTRACTS.map((name) => JSON.parse(readFileSync(join(scratch, "out", sourceOf(name), `${name}.json`))));
    const files = new Map(compiled.map((output, i) => [`${CONTRACTS[i]}.json`, artifact(CONTRACTS[i], output)]));
    files.set("manifest.json", manifest(compiled[0].metadata, files));
    return files;
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

function sourceOf(name) {
  return name.endsWith("Registry") ? "Registries.sol" : `${name}.sol`;
}

function artifact(contractName, output) {
  if (output.bytecode.object.includes("__$")) throw new Error(`${contractName} needs linking`);
  return toJson({ contractName, abi: output.abi, bytecode: output.bytecode.object });
}

function manifest(metadata, files) {
  const { compilationTarget, libraries, ...settings } = metadata.settings;
  const sha256 = Object.fromEntries(
    [...files].map(([name, text]) => [name, createHash("sha256").update(text).digest("hex")]),
  );
  return toJson({ solc: metadata.compiler.version, settings, sha256 });
}

function drift(files) {
  const present = new Set(readdirSync(folder));
  const names = new Set([...present, ...files.keys()]);
  return [...names].filter((name) => !present.has(name) || readFileSync(join(folder, name), "utf8") !== files.get(name));
}

function toJson(value) {
  return JSON.stringify(value, null, 2) + "\n";
}
