defmodule ErlangPython.Cell.Object do
  @moduledoc """
  A Python object that a cell has assigned to a variable and that has no counterpart in Elixir: a dataframe, a model, an
  open file.

  The object itself stays in Python. This stands for it: a cell that reads the variable gets the object. It is kept until the
  cell that made it assigns the same name again, or the cell's context ends. Anywhere else than as the variable of a cell,
  it is only this struct.

    * `:type` - the name of its class in Python.
    * `:text` - its `repr`, shortened.
  """

  # Not an ErlangPython.Ref: a cell may make many at once, and what it made before under the same name goes when it runs again, whatever
  # Elixir still holds of that. A Ref is the one value of its request, and stays as long as its owner, who is the same for all cells.
  @enforce_keys [:number, :context, :type, :text]
  defstruct @enforce_keys

  @type t :: %__MODULE__{
          number: non_neg_integer(),
          context: ErlangPython.Context.t(),
          type: String.t(),
          text: String.t()
        }

  defimpl Inspect do
    def inspect(object, _opts), do: "#ErlangPython.Cell.Object<#{object.type}: #{object.text}>"
  end
end
