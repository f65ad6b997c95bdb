#!/usr/bin/env bash
# One run of the action: the inputs come as INPUT_…, never as part of this text, so that no branch name becomes a command.
set -uo pipefail

plan=$RUNNER_TEMP/reconciler-plan
code=0
read -ra more <<< "$INPUT_ARGS"
target=()
if [ -n "$INPUT_TARGET" ]; then target=(--target "$INPUT_TARGET"); fi

# Keeps the first exit code that is not 0.
keep() {
  local status=$?
  if [ "$code" -eq 0 ]; then code=$status; fi
  return 0
}

# The name of a branch as the checkout knows it.
known() {
  git -C "$INPUT_PATH" rev-parse --quiet --verify "origin/$1" > /dev/null && echo "origin/$1" || echo "$1"
}

validate() {
  local words=(--fail-on "$INPUT_FAIL_ON" --output github)
  if [ -n "$INPUT_SARIF" ]; then words+=(--output-file "sarif=$INPUT_SARIF"); fi
  if [ -n "$INPUT_BASE" ]; then words+=(--changed-since "$(known "$INPUT_BASE")"); fi
  reconciler validate "$INPUT_PATH" "${words[@]}"
  keep
}

compare() {
  local words=(--base "$(known "$INPUT_BASE")")
  if [ -n "$INPUT_HEAD" ]; then words+=(--head "$INPUT_HEAD"); fi
  reconciler plan "$INPUT_PATH" "${words[@]}" --output markdown --output-file "json=$plan.json" > "$plan.md"
  keep
}

plan_live() {
  reconciler plan "$INPUT_PATH" ${target[@]+"${target[@]}"} ${more[@]+"${more[@]}"} \
    --output markdown --out "$plan.json" --output-file "json=$plan.report.json" > "$plan.md"
  keep
}

# What the report says, as outputs of the step.
outputs() {
  python - "$1" <<'PYTHON'
import json
import sys

report = json.load(open(sys.argv[1], encoding="utf-8"))
summaries = [each["summary"] for each in report.get("targets", [report]) if "summary" in each]
changes = sum(summary[kind] for summary in summaries for kind in ("create", "update", "delete"))
print(f"changed={'true' if changes else 'false'}")
print(f"deletes={sum(summary['delete'] for summary in summaries)}")
PYTHON
}

comment() {
  local words=()
  if [ -n "$INPUT_HEAD" ]; then words+=(--commit "$INPUT_HEAD"); fi
  # A report without a section has nothing to review: it only takes back what an earlier one said.
  if [ "$code" -eq 0 ] && ! grep -q '^#### ' "$plan.md"; then words+=(--only-update); fi
  reconciler comment "$plan.md" ${words[@]+"${words[@]}"}
  keep
}

rm -f "$plan".*
case $INPUT_COMMAND in
  check)
    if [ -z "$INPUT_HEAD" ]; then validate; fi
    if [ -n "$INPUT_BASE" ]; then compare; fi
    ;;
  validate) validate ;;
  plan) plan_live ;;
  apply)
    reconciler apply "$INPUT_PATH" ${target[@]+"${target[@]}"} ${more[@]+"${more[@]}"}
    keep
    ;;
  *)
    echo "::error::there is no command of that name: write check, validate, plan or apply"
    code=64
    ;;
esac

report=$plan.json
if [ -f "$plan.report.json" ]; then report=$plan.report.json; fi
if [ -f "$report" ]; then
  outputs "$report" >> "$GITHUB_OUTPUT"
  echo "plan-path=$plan.json" >> "$GITHUB_OUTPUT"
fi
if [ -s "$plan.md" ] && [ "$INPUT_COMMENT" = true ]; then comment; fi
echo "exit-code=$code" >> "$GITHUB_OUTPUT"
exit "$code"
