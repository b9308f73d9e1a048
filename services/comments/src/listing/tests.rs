use super::*;

fn comment(id: &str, author: &str) -> wire::Comment {
    wire::Comment {
        id: id.to_owned(),
        product_id: "kettle".to_owned(),
        author_id: author.to_owned(),
        body: "b".repeat(200),
        version: 7,
        ..wire::Comment::default()
    }
}

fn author(id: &str) -> AuthorId {
    AuthorId::read(id).expect("an id")
}

fn listed(token: &str) -> Listed {
    let comments = [("c", "ada"), ("b", "bob"), ("a", "ada")];
    let comments = comments.map(|(id, by)| (comment(id, by).encode_to_vec().into(), author(by)));
    Listed::new(comments, token.to_owned())
}

#[test]
fn a_signed_page_is_what_the_contract_would_encode() {
    let listed = listed("next");
    assert_eq!(listed.authors(), [author("ada"), author("bob")]);
    let names = [Bytes::from_static("Ada Ł.".as_bytes()), Bytes::new()];
    let named = |id, by, name: &str| wire::Comment {
        author_display_name: name.to_owned(),
        ..comment(id, by)
    };
    let expected = wire::ListCommentsResponse {
        comments: vec![
            named("c", "ada", "Ada Ł."),
            named("b", "bob", ""),
            named("a", "ada", "Ada Ł."),
        ],
        next_page_token: "next".to_owned(),
    };
    assert_eq!(listed.signed(&names), Framed::of(&expected));
    assert_eq!(Listed::default().signed(&[]), Framed::copied(b""));
}

#[test]
fn a_signed_comment_is_what_the_contract_would_encode() {
    let plain = Framed::of(&comment("c", "ada"));
    let named = wire::Comment {
        author_display_name: "Ada".to_owned(),
        ..comment("c", "ada")
    };
    assert_eq!(signed(&plain, b"Ada"), named.encode_to_vec());
    assert_eq!(signed(&plain, b""), plain.message());
}

#[test]
fn a_page_reads_back_from_the_remote_tier_and_nothing_else_does() {
    for page in [listed(""), listed("next"), Listed::default()] {
        assert_eq!(Listed::decode(page.encode()), Some(page));
    }
    let broken = |change: fn(&mut Stored)| {
        let mut stored = Stored::decode(listed("").encode()).expect("a page");
        change(&mut stored);
        Listed::decode(stored.encode_to_vec().into())
    };
    assert_eq!(broken(|stored| stored.places[0] = 2), None);
    assert_eq!(broken(|stored| stored.places.push(0)), None);
    assert_eq!(broken(|stored| stored.authors[0].clear()), None);
    assert_eq!(Listed::decode(Bytes::from_static(&[0xff; 9])), None);
}

#[test]
fn a_page_reads_back_from_its_text() {
    let product = || ProductId::read("kettle-2").expect("an id");
    for before in [None, Some((1_700_000_000_123_456, "comment-7".to_owned()))] {
        let page = Page {
            product: product(),
            size: 25,
            before,
        };
        let mut text = String::new();
        page.write(&mut text);
        assert_eq!(Page::parse(&text), Some(page), "{text}");
    }
    for text in [
        "",
        "kettle",
        "kettle/25",
        "kettle/x/",
        "-/25/",
        "kettle/25/7",
        "kettle/25/x/c",
    ] {
        assert_eq!(Page::parse(text), None, "{text}");
    }
}
