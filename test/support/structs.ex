defmodule ErlangPython.TestStructs do
  @moduledoc false
  # Compiled with the project, before protocols are consolidated.

  defmodule Plain do
    @moduledoc false
    defstruct [:a, :b]
  end

  defmodule Chosen do
    @moduledoc false
    @derive {ErlangPython.Encoder, only: [:id]}
    defstruct [:id, :password]
  end

  defmodule Hidden do
    @moduledoc false
    @derive {ErlangPython.Encoder, except: [:password]}
    defstruct [:id, :password]
  end

  defmodule Money do
    @moduledoc false
    defstruct [:amount, :currency]

    defimpl ErlangPython.Encoder do
      def encode(money), do: {money.amount, money.currency}
    end
  end

  defmodule Broken do
    @moduledoc false
    defstruct []

    defimpl ErlangPython.Encoder do
      def encode(_struct), do: raise("no such thing")
    end
  end
end
