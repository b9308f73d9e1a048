//! Structured data in the words of schema.org, for whoever reads pages without eyes.

use super::address::{self, PublicUrl};
use super::text;
use larder_proto::comments::v1::Comment;
use larder_proto::products::v1::Product;
use serde_json::{Value, json};

/// A product and what it is offered for.
pub fn product(site: &PublicUrl, product: &Product, currency: &str) -> String {
    let url = site.of(&address::product(&product.id));
    let availability = match product.stock {
        ..=0 => "https://schema.org/OutOfStock",
        1..=5 => "https://schema.org/LimitedAvailability",
        _ => "https://schema.org/InStock",
    };
    let mut data = json!({
        "@context": "https://schema.org",
        "@type": "Product",
        "@id": node(&url),
        "url": url,
        "sku": product.id,
        "name": text::inert(&product.title),
        "offers": {
            "@type": "Offer",
            "url": url,
            "price": text::decimal(product.price_cents),
            "priceCurrency": currency,
            "availability": availability,
            "itemCondition": "https://schema.org/NewCondition",
        },
    });
    for (name, value) in [
        ("description", &product.description),
        ("category", &product.category),
    ] {
        if !value.is_empty() {
            data[name] = text::inert(value).into();
        }
    }
    script(&data)
}

/// Comments about a product. They are no reviews, as nobody gave a rating.
pub fn comments(site: &PublicUrl, product: &str, comments: &[Comment]) -> String {
    let about = json!({ "@id": node(&site.of(&address::product(product))) });
    let comments = comments.iter().map(|comment| {
        let mut data = json!({
            "@type": "Comment",
            "text": text::inert(&comment.body),
            "about": about,
        });
        if !comment.author_display_name.is_empty() {
            let name = text::inert(&comment.author_display_name);
            data["author"] = json!({ "@type": "Person", "name": name });
        }
        if let Some(time) = comment.created_at {
            data["dateCreated"] = text::moment(time).0.into();
        }
        data
    });
    let comments: Vec<Value> = comments.collect();
    script(&json!({ "@context": "https://schema.org", "@graph": comments }))
}

/// The way from the first page to a product or a category.
pub fn crumbs(site: &PublicUrl, steps: &[(&str, &str)]) -> String {
    let steps = steps.iter().enumerate().map(|(place, (name, path))| {
        json!({
            "@type": "ListItem",
            "position": place + 1,
            "name": text::line(name, 200),
            "item": site.of(path),
        })
    });
    let steps: Vec<Value> = steps.collect();
    script(&json!({
        "@context": "https://schema.org",
        "@type": "BreadcrumbList",
        "itemListElement": steps,
    }))
}

fn node(url: &str) -> String {
    format!("{url}#product")
}

/// Data as it can stand in a script element. Inside of one, HTML knows no escapes and looks for
/// `</script` and `<!--`; JSON lets every character be written as a number, and the characters
/// that these begin with occur in its strings alone.
fn script(data: &Value) -> String {
    let json = data.to_string();
    let mut safe = String::with_capacity(json.len());
    for letter in json.chars() {
        match letter {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                safe.push_str(&format!("\\u{:04x}", u32::from(letter)));
            }
            _ => safe.push(letter),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> PublicUrl {
        "https://shop.example".parse().expect("a URL")
    }

    #[test]
    fn nothing_in_a_text_ends_the_script_and_all_of_it_reads_back() {
        let foul = "</script><script>alert(\"1\")</script><!-- ]]> & \u{2028} \\u003c '\" \\";
        let kettle = Product {
            id: "kettle".to_owned(),
            title: foul.to_owned(),
            description: foul.to_owned(),
            category: foul.to_owned(),
            ..Product::default()
        };
        let data = product(&site(), &kettle, "EUR");
        assert!(!data.contains(['<', '>', '&', '\u{2028}']), "{data}");
        let read: Value = serde_json::from_str(&data).expect("JSON");
        for name in ["name", "description", "category"] {
            assert_eq!(read[name], foul);
        }
        let comment = Comment {
            body: foul.to_owned(),
            author_display_name: foul.to_owned(),
            ..Comment::default()
        };
        let data = comments(&site(), "kettle", &[comment]);
        assert!(!data.contains(['<', '>', '&', '\u{2028}']), "{data}");
        let read: Value = serde_json::from_str(&data).expect("JSON");
        assert_eq!(read["@graph"][0]["text"], foul);
        assert_eq!(read["@graph"][0]["author"]["name"], foul);
    }

    #[test]
    fn an_offer_says_what_it_costs_and_whether_it_can_be_had() {
        for (stock, availability) in [
            (0, "OutOfStock"),
            (5, "LimitedAvailability"),
            (6, "InStock"),
        ] {
            let kettle = Product {
                id: "kettle".to_owned(),
                title: "Kettle".to_owned(),
                price_cents: 199_905,
                stock,
                ..Product::default()
            };
            let data = product(&site(), &kettle, "NOK");
            let read: Value = serde_json::from_str(&data).expect("JSON");
            let offer = &read["offers"];
            assert_eq!(offer["price"], "1999.05");
            assert_eq!(offer["priceCurrency"], "NOK");
            assert_eq!(
                offer["availability"],
                format!("https://schema.org/{availability}")
            );
            assert_eq!(offer["url"], "https://shop.example/products/kettle");
            assert_eq!(read.get("description"), None, "what is empty is not said");
        }
    }
}
