//! The result of a check for programs: the JSON of the reference client, and SARIF.

use serde_json::Value;

use super::{DOUBTFUL, NOWHERE, call, check, place};
use crate::support::TestEnv;

#[test]
fn a_file_that_is_no_text_is_a_mistake_for_programs_too() {
    let env = TestEnv::new();
    env.write("context/Dockerfile", b"FROM scratch\n\xff\n");
    let json = check(&env, &["--format", "json"]).exited(1).stdout;
    let json: Value = serde_json::from_str(&json).unwrap();
    let message = json["buildError"]["message"].as_str().unwrap();
    assert!(message.contains("not valid UTF-8"), "{message}");
}

#[test]
fn the_json_is_that_of_the_reference_client() {
    let env = place(DOUBTFUL);
    let outcome = call(&env, &["--call=check,format=json"]).exited(1);
    assert_eq!(outcome.stdout, check(&env, &["--format", "json"]).stdout);
    let mut json: Value = serde_json::from_str(&outcome.stdout).unwrap();
    let data = json["sources"][0]["data"].take();
    let text = builder::oci::base64::decode(data.as_str().unwrap()).unwrap();
    assert_eq!(String::from_utf8(text).unwrap(), DOUBTFUL);
    insta::assert_snapshot!(serde_json::to_string_pretty(&json).unwrap(), @r#"
    {
      "sources": [
        {
          "data": null,
          "filename": "Dockerfile",
          "language": "Dockerfile"
        }
      ],
      "warnings": [
        {
          "description": "Empty continuation lines will become errors in a future release",
          "detail": "Empty continuation line",
          "location": {
            "ranges": [
              {
                "end": {
                  "character": 0,
                  "line": 3
                },
                "start": {
                  "character": 0,
                  "line": 3
                }
              }
            ],
            "sourceIndex": 0
          },
          "ruleName": "NoEmptyContinuation",
          "url": "https://docs.docker.com/go/dockerfile/rule/no-empty-continuation/"
        },
        {
          "description": "Variables should be defined before their use",
          "detail": "Usage of undefined variable '$NOPE'",
          "location": {
            "ranges": [
              {
                "end": {
                  "character": 24,
                  "line": 6
                },
                "start": {
                  "character": 17,
                  "line": 6
                }
              }
            ],
            "sourceIndex": 0
          },
          "ruleName": "UndefinedVar",
          "url": "https://docs.docker.com/go/dockerfile/rule/undefined-var/"
        }
      ]
    }
    "#);
}

#[test]
fn the_json_has_the_mistake_that_ends_the_build() {
    let env = place("FROM scratch\nCOPY a\n");
    let outcome = call(&env, &["--call=check,format=json"]).exited(1);
    let json: Value = serde_json::from_str(&outcome.stdout).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&json["buildError"]).unwrap(), @r#"
    {
      "location": {
        "ranges": [
          {
            "end": {
              "character": 6,
              "line": 2
            },
            "start": {
              "character": 0,
              "line": 2
            }
          }
        ],
        "sourceIndex": 0
      },
      "message": "dockerfile parse error on line 2: COPY requires at least two arguments, but only one was provided. Destination could not be determined"
    }
    "#);
}

/// What the SARIF 2.1.0 schema demands of a log, for the properties that are used.
fn assert_sarif(log: &Value) {
    let text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    assert_eq!(log["version"], "2.1.0");
    assert!(text(&log["$schema"]));
    for run in log["runs"].as_array().unwrap() {
        let driver = &run["tool"]["driver"];
        assert!(text(&driver["name"]) && text(&driver["semanticVersion"]));
        let rules = driver["rules"].as_array().unwrap();
        for rule in rules {
            assert!(text(&rule["id"]) && text(&rule["shortDescription"]["text"]));
            assert!(
                rule.get("helpUri")
                    .is_none_or(|uri| uri.as_str().unwrap().starts_with("https://"))
            );
        }
        assert_eq!(run["columnKind"], "unicodeCodePoints");
        for invocation in run["invocations"].as_array().unwrap() {
            assert!(invocation["executionSuccessful"].is_boolean());
        }
        for result in run["results"].as_array().unwrap() {
            assert!(text(&result["message"]["text"]) && text(&result["ruleId"]));
            assert!(matches!(
                result["level"].as_str(),
                Some("warning" | "error")
            ));
            if let Some(index) = result.get("ruleIndex") {
                let index = usize::try_from(index.as_u64().unwrap()).unwrap();
                assert_eq!(rules[index]["id"], result["ruleId"]);
            }
            for location in result["locations"].as_array().unwrap() {
                let physical = &location["physicalLocation"];
                assert!(text(&physical["artifactLocation"]["uri"]));
                assert_region(&physical["region"]);
            }
            for fix in result["fixes"].as_array().into_iter().flatten() {
                for change in fix["artifactChanges"].as_array().unwrap() {
                    assert!(text(&change["artifactLocation"]["uri"]));
                    let replacements = change["replacements"].as_array().unwrap();
                    assert!(!replacements.is_empty());
                    for replacement in replacements {
                        assert_region(&replacement["deletedRegion"]);
                        assert!(replacement["insertedContent"]["text"].is_string());
                    }
                }
            }
        }
    }
}

fn assert_region(region: &Value) {
    let number = |key: &str| {
        region[key]
            .as_u64()
            .unwrap_or_else(|| panic!("{key} in {region}"))
    };
    let start = (number("startLine"), number("startColumn"));
    let end = (number("endLine"), number("endColumn"));
    assert!(
        start >= (1, 1) && end.0 >= 1 && end.1 >= 1 && start <= end,
        "{region}"
    );
}

#[test]
fn sarif_has_rules_results_and_regions() {
    let env = place(DOUBTFUL);
    let outcome = check(&env, &["--format", "sarif"]).exited(1);
    let log: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_sarif(&log);
    let run = &log["runs"][0];
    assert_eq!(run["artifacts"][0]["location"]["uri"], "context/Dockerfile");
    assert_eq!(run["invocations"][0]["executionSuccessful"], true);
    let results = run["results"].as_array().unwrap();
    assert_eq!(results.len(), 2);
    let mut result = results[1].clone();
    assert!(result["ruleIndex"].take().is_number());
    insta::assert_snapshot!(serde_json::to_string_pretty(&result).unwrap(), @r#"
    {
      "level": "warning",
      "locations": [
        {
          "physicalLocation": {
            "artifactLocation": {
              "index": 0,
              "uri": "context/Dockerfile"
            },
            "region": {
              "endColumn": 25,
              "endLine": 6,
              "startColumn": 18,
              "startLine": 6
            }
          }
        }
      ],
      "message": {
        "text": "Usage of undefined variable '$NOPE'"
      },
      "ruleId": "UndefinedVar",
      "ruleIndex": null
    }
    "#);
}

#[test]
fn sarif_has_mistakes_and_bases_out_of_reach() {
    let env = place("FROM scratch\nCOPI a /\n");
    let log = check(&env, &["--format", "sarif"]).exited(1).stdout;
    let log: Value = serde_json::from_str(&log).unwrap();
    assert_sarif(&log);
    assert_eq!(
        log["runs"][0]["invocations"][0]["executionSuccessful"],
        false
    );
    assert_eq!(log["runs"][0]["results"][0]["level"], "error");

    let env = place(&format!("FROM {NOWHERE}\n"));
    let log = check(&env, &["--format", "sarif"]).succeeded().stdout;
    let log: Value = serde_json::from_str(&log).unwrap();
    assert_sarif(&log);
    let note = &log["runs"][0]["invocations"][0]["toolExecutionNotifications"][0];
    assert_eq!(note["level"], "note");
    assert!(note["message"]["text"].as_str().unwrap().contains(NOWHERE));
}
