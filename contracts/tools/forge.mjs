// Runs the tools from node_modules, never something else of the same name that is in PATH.
import { execFileSync } from "node:child_process";
import { createRequire } from "node:module";
import { arch, platform } from "node:process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/// The binary itself, out of the package for this platform: a child process to end is then the tool and no wrapper.
export function binaryOf(tool) {
  const cpu = { x64: "amd64" }[arch] ?? arch;
  const suffix = platform === "win32" ? ".exe" : "";
  const require = createRequire(import.meta.url);
  return join(dirname(require.resolve(`@foundry-rs/${tool}-${platform}-${cpu}/package.json`)), "bin", tool + suffix);
}

export function forge(...args) {
  return execFileSync(binaryOf("forge"), args, { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
}
