use crate::InputError;
use crate::text::nearest;

/// Which column or field of a table plays which part: `app=app_name,id=instance_sn,stack=role`.
///
/// On the left stands the part, on the right the column of a CSV or the field of a JSON line (`metadata.name` reaches
/// into objects). The parts `id` and `app` must be there. `ready` (`true` or `false`), `born` and `died` (whole
/// seconds) may be. Every other part becomes a label of that name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    parts: Vec<(Role, String)>,
}

/// The part that one column plays. Sorted: the fixed parts first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Id,
    App,
    Ready,
    Born,
    Died,
    Label(String),
}

impl Role {
    pub(crate) fn named(name: &str) -> Self {
        match name {
            "id" => Self::Id,
            "app" => Self::App,
            "ready" => Self::Ready,
            "born" => Self::Born,
            "died" => Self::Died,
            label => Self::Label(label.to_owned()),
        }
    }

    /// The name as it stands in `--map`.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Id => "id",
            Self::App => "app",
            Self::Ready => "ready",
            Self::Born => "born",
            Self::Died => "died",
            Self::Label(label) => label,
        }
    }

    pub(crate) const fn is_required(&self) -> bool {
        matches!(self, Self::Id | Self::App)
    }
}

impl Mapping {
    /// Reads the text that stands after `--map`.
    ///
    /// # Errors
    ///
    /// [`InputError::Map`] with the part that cannot be read and what to write instead.
    pub fn parse(text: &str) -> Result<Self, InputError> {
        let wrong = |why: String, fix: String| InputError::Map {
            given: text.to_owned(),
            why,
            fix,
        };
        let mut parts: Vec<(Role, String)> = Vec::new();
        for pair in text.split(',') {
            let Some((name, column)) = pair.split_once('=').map(|(name, column)| (name.trim(), column.trim())) else {
                return Err(wrong(
                    format!("`{}` has no `=`", pair.trim()),
                    "write part=column pairs with commas between them, such as app=app_name,id=instance_sn".to_owned(),
                ));
            };
            if name.is_empty() || column.is_empty() {
                let side = if name.is_empty() { "left" } else { "right" };
                return Err(wrong(
                    format!("`{}` has nothing on the {side} of `=`", pair.trim()),
                    "write part=column, such as app=app_name".to_owned(),
                ));
            }
            let role = Role::named(name);
            if let Some((_, before)) = parts.iter().find(|(other, _)| *other == role) {
                return Err(wrong(
                    format!("`{name}` stands twice, for `{before}` and for `{column}`"),
                    "name every part once".to_owned(),
                ));
            }
            parts.push((role, column.to_owned()));
        }
        for needed in [Role::Id, Role::App] {
            if parts.iter().all(|(role, _)| *role != needed) {
                return Err(wrong(
                    format!("the part `{}` is missing", needed.name()),
                    missing_fix(&needed, &parts),
                ));
            }
        }
        Ok(Self { parts })
    }

    pub(crate) fn parts(&self) -> &[(Role, String)] {
        &self.parts
    }
}

fn missing_fix(needed: &Role, parts: &[(Role, String)]) -> String {
    let labels: Vec<&str> = parts
        .iter()
        .filter(|(role, _)| matches!(role, Role::Label(_)))
        .map(|(role, _)| role.name())
        .collect();
    let typo = nearest(needed.name(), labels.iter().copied())
        .and_then(|name| parts.iter().find(|(role, _)| role.name() == name));
    match typo {
        Some((role, column)) => {
            format!(
                "write {}={column} instead of {}={column}, if that was meant",
                needed.name(),
                role.name()
            )
        }
        None => format!("add {}=COLUMN with the column that holds it", needed.name()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Mapping, Role};

    fn complaint(text: &str) -> String {
        Mapping::parse(text).expect_err(text).to_string()
    }

    #[test]
    fn parts_keep_their_columns() {
        let map = Mapping::parse(" app = app_name , id=sn, stack=role,born=creation_time").expect("well formed");
        assert_eq!(
            map.parts(),
            [
                (Role::App, "app_name".to_owned()),
                (Role::Id, "sn".to_owned()),
                (Role::Label("stack".to_owned()), "role".to_owned()),
                (Role::Born, "creation_time".to_owned()),
            ]
        );
    }

    #[test]
    fn each_slip_is_named_with_its_fix() {
        assert_eq!(
            complaint("app:app_name,id=sn"),
            "--map app:app_name,id=sn: `app:app_name` has no `=`: write part=column pairs with commas between them, \
             such as app=app_name,id=instance_sn"
        );
        assert!(complaint("").contains("`` has no `=`"));
        assert!(complaint("app=a,=sn").contains("nothing on the left"));
        assert!(complaint("app=a,id=").contains("nothing on the right"));
        assert!(complaint("app=a,id=b,app=c").contains("`app` stands twice, for `a` and for `c`"));
        assert!(
            complaint("app=a,zone=z")
                .ends_with("the part `id` is missing: add id=COLUMN with the column that holds it")
        );
        assert!(
            complaint("ap=app_name,id=sn").ends_with("write app=app_name instead of ap=app_name, if that was meant")
        );
    }
}
