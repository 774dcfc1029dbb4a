//! The rules, one a file: the entry in the table, what makes it fire, and what it says.

mod consistent_instruction_casing;
mod copy_ignored_file;
mod duplicate_stage_name;
mod expose_invalid_format;
mod expose_proto_casing;
mod from_as_casing;
mod from_platform_flag_const_disallowed;
mod heredoc_without_errexit;
mod invalid_base_image_platform;
mod invalid_default_arg_in_from;
mod invalid_definition_description;
mod json_args_recommended;
mod legacy_key_value_format;
mod maintainer_deprecated;
mod multiple_instructions_disallowed;
mod no_empty_continuation;
mod package_cache_in_layer;
mod recursive_ownership_change;
mod redundant_target_platform;
mod reserved_stage_name;
mod secrets_used_in_arg_or_env;
mod stage_name_casing;
mod undefined_arg_in_from;
mod undefined_var;
mod workdir_relative_path;

use super::rule::Rule;

/// Every rule, by name.
pub const RULES: &[Rule] = &[
    consistent_instruction_casing::RULE,
    copy_ignored_file::RULE,
    duplicate_stage_name::RULE,
    expose_invalid_format::RULE,
    expose_proto_casing::RULE,
    from_as_casing::RULE,
    from_platform_flag_const_disallowed::RULE,
    heredoc_without_errexit::RULE,
    invalid_base_image_platform::RULE,
    invalid_default_arg_in_from::RULE,
    invalid_definition_description::RULE,
    json_args_recommended::RULE,
    legacy_key_value_format::RULE,
    maintainer_deprecated::RULE,
    multiple_instructions_disallowed::RULE,
    no_empty_continuation::RULE,
    package_cache_in_layer::RULE,
    recursive_ownership_change::RULE,
    redundant_target_platform::RULE,
    reserved_stage_name::RULE,
    secrets_used_in_arg_or_env::RULE,
    stage_name_casing::RULE,
    undefined_arg_in_from::RULE,
    undefined_var::RULE,
    workdir_relative_path::RULE,
];

/// The rule of a name.
#[must_use]
pub fn rule(name: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_its_pages_are_called_like_the_rules() {
        assert!(RULES.is_sorted_by_key(|rule| rule.name));
        for rule in RULES {
            let Some(url) = rule.url else {
                assert!(rule.ours || rule.name == "InvalidBaseImagePlatform");
                continue;
            };
            let page = url.trim_end_matches('/').rsplit('/').next().unwrap();
            assert_eq!(page.replace('-', ""), rule.name.to_lowercase());
            assert!(!rule.ours && url.starts_with("https://docs.docker.com/go/dockerfile/rule/"));
        }
    }
}
