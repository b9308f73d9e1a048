//! Who may call what: a table, which whoever puts a process together brings.

/// Methods, each as `/package.Service/Method`, or all of a service as `/package.Service/`.
pub type Methods = &'static [&'static str];

/// Who may call what, once whoever runs a process has named him at all.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// What callers of these names may call, and nothing else.
    pub known: &'static [(&'static str, Methods)],
    /// What all others may call.
    pub others: Methods,
    /// What changes something, of an admin port.
    pub changes: Methods,
}

impl Policy {
    /// Whether a caller of this name may call the method at this path.
    pub fn permits(&self, name: &str, path: &str) -> bool {
        let known = self.known.iter().find(|(known, _)| *known == name);
        among(known.map_or(self.others, |(_, methods)| methods), path)
    }

    /// Whether the method at this path changes something.
    pub fn changes(&self, path: &str) -> bool {
        among(self.changes, path)
    }
}

fn among(methods: Methods, path: &str) -> bool {
    methods.iter().any(|method| match method.ends_with('/') {
        true => path.starts_with(method),
        false => path == *method,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_callers_may_what_is_written_and_others_what_is_for_all() {
        let policy = Policy {
            known: &[("front", &["/a.A/", "/b.B/Get"]), ("nobody", &[])],
            others: &["/a.A/Get"],
            changes: &["/b.B/Set"],
        };
        for (name, path, expected) in [
            ("front", "/a.A/Get", true),
            ("front", "/a.A/Set", true),
            ("front", "/a.Ab/Get", false),
            ("front", "/b.B/Get", true),
            ("front", "/b.B/GetAll", false),
            ("nobody", "/a.A/Get", false),
            ("stranger", "/a.A/Get", true),
            ("stranger", "/a.A/Set", false),
        ] {
            assert_eq!(policy.permits(name, path), expected, "{name} {path}");
        }
        assert!(policy.changes("/b.B/Set") && !policy.changes("/b.B/Get"));
    }
}
