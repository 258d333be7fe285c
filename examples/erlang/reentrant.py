"""The Python half of reentrant.erl."""

import erlang


def fibonacci(n):
    return erlang.fibonacci(n - 1) + erlang.fibonacci(n - 2)


def descend(level, path):
    return erlang.descend(level - 1, ["P", *path])


def percent(total):
    return 10 if total > 10 else 0


class Basket:
    def __init__(self):
        self.lines = []

    def add(self, article, count):
        stock = erlang.stock(article)
        if stock["count"] < count:
            raise ValueError(f"only {stock['count']} of {article} left")
        self.lines.append((article, count, stock["price"]))

    def bill(self):
        total = sum(count * price for _article, count, price in self.lines)
        percent = erlang.discount(total)
        return {
            "articles": sum(count for _article, count, _price in self.lines),
            "discount": f"{percent} %",
            "total": round(total * (100 - percent) / 100, 2),
        }


def checkout(wanted):
    basket = Basket()
    for article, count in wanted:
        basket.add(article, count)
    return basket.bill()


def careful_checkout(wanted):
    try:
        return checkout(wanted)
    except RuntimeError as error:
        return f"{type(error).__name__}, so no bill"
