defmodule ErlangPython.MessagePack.Decimals do
  @moduledoc false
  # Decimals travel as the text that Python's `str(Decimal)` gives, which is "to scientific
  # string" of the General Decimal Arithmetic Specification. The Decimal library is no dependency:
  # its struct has been the same since 1.0 and is taken apart and made by its fields.

  alias ErlangPython.MessagePack.Optional

  # Erlang reads long numbers in quadratic time.
  @max_digits 10_000

  @spec to_text(%{
          required(:sign) => 1 | -1,
          required(:coef) => non_neg_integer() | :NaN | :inf,
          required(:exp) => integer(),
          optional(atom()) => term()
        }) :: String.t()
  def to_text(%{sign: sign, coef: coef, exp: exp}), do: sign(sign) <> unsigned(coef, exp)

  defp sign(-1), do: "-"
  defp sign(1), do: ""

  defp unsigned(:NaN, _exp), do: "NaN"
  defp unsigned(:inf, _exp), do: "Infinity"

  defp unsigned(coef, exp) do
    digits = Integer.to_string(coef)
    size = byte_size(digits)
    adjusted = exp + size - 1

    cond do
      exp > 0 or adjusted < -6 -> point(digits, 1) <> exponent(adjusted)
      exp == 0 -> digits
      size + exp > 0 -> point(digits, size + exp)
      true -> "0." <> String.duplicate("0", -exp - size) <> digits
    end
  end

  defp point(digits, at) when byte_size(digits) == at, do: digits

  defp point(digits, at) do
    {whole, fraction} = :erlang.split_binary(digits, at)
    <<whole::binary, ?., fraction::binary>>
  end

  defp exponent(int) when int >= 0, do: "E+#{int}"
  defp exponent(int), do: "E#{int}"

  @doc """
  A `Decimal` if the application has that library, else the text itself.
  """
  @spec from_text(binary()) :: {:ok, struct() | binary()} | :error
  def from_text(text) do
    with {:ok, fields} <- fields(text) do
      if Optional.available?(Decimal), do: {:ok, struct(Decimal, fields)}, else: {:ok, text}
    end
  end

  defp fields("-" <> unsigned), do: fields(unsigned, -1)
  defp fields(unsigned), do: fields(unsigned, 1)

  defp fields("NaN", sign), do: {:ok, [sign: sign, coef: :NaN, exp: 0]}
  defp fields("Infinity", sign), do: {:ok, [sign: sign, coef: :inf, exp: 0]}

  defp fields(unsigned, sign) do
    with {whole, rest} <- digits(unsigned),
         {fraction, rest} <- fraction(rest),
         {:ok, exp} <- exp(rest),
         true <- whole <> fraction != "" do
      coef = String.to_integer(whole <> fraction)
      {:ok, [sign: sign, coef: coef, exp: exp - byte_size(fraction)]}
    else
      _invalid -> :error
    end
  end

  defp fraction("." <> rest), do: digits(rest)
  defp fraction(rest), do: {"", rest}

  defp exp(""), do: {:ok, 0}
  defp exp("E+" <> digits), do: exp(digits, 1)
  defp exp("E-" <> digits), do: exp(digits, -1)
  defp exp(_other), do: :error

  defp exp(text, sign) do
    case digits(text) do
      {digits, ""} when byte_size(digits) in 1..20 -> {:ok, sign * String.to_integer(digits)}
      _invalid -> :error
    end
  end

  defp digits(text), do: digits(text, text, 0)

  defp digits(<<digit, rest::binary>>, text, size) when digit in ?0..?9,
    do: digits(rest, text, size + 1)

  defp digits(rest, text, size) when size <= @max_digits,
    do: {binary_part(text, 0, size), rest}

  defp digits(_rest, _text, _size), do: :error
end
