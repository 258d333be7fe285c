defmodule ErlangPython.Charlist do
  @moduledoc false
  # Strings as Erlang writes them: lists of characters (pure).

  @doc "Is it such a string, and not an empty one?"
  @spec text?(term()) :: boolean()
  def text?([_ | _] = list), do: :io_lib.printable_unicode_list(list)
  def text?(_other), do: false

  @doc "Such a string as a binary; all else as it is."
  @spec to_text(term()) :: term()
  def to_text(term), do: if(text?(term), do: List.to_string(term), else: term)
end
