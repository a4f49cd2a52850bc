import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

/**
 * The page loads nothing from elsewhere, and nothing in it is inline. Said in the page itself, so that it also holds
 * when another server hands it out. Only in the built page: the development server injects styles.
 */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join("; ");

const contentSecurityPolicy: Plugin = {
  name: "content-security-policy",
  apply: "build",
  transformIndexHtml: () => [
    { tag: "meta", attrs: { "http-equiv": "Content-Security-Policy", content: POLICY }, injectTo: "head-prepend" },
  ],
};

export default defineConfig({
  base: "./",
  plugins: [contentSecurityPolicy],
  build: {
    target: "es2023",
    modulePreload: false,
    // One origin, and a policy without data: for scripts and styles.
    assetsInlineLimit: 0,
  },
  // `npm run dev` beside a pool: `gristmill dev`, or `npm run mock` with PORT=7117.
  server: { proxy: { "/api": "http://127.0.0.1:7117", "/rpc": "http://127.0.0.1:7117" } },
  test: { include: ["test/unit/**/*.test.ts"] },
});
